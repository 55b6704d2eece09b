"""What is imported when: nobody should wait for torch to read a help page, or for a plot that was not asked for."""

import subprocess
import sys
from pathlib import Path

import pytest

SAMPLE = Path(__file__).parents[1] / "sample_checkpoints" / "mhc.safetensors"
HEAVY = ("torch", "numpy", "pandas", "matplotlib")
REPORT = "print('IMPORTED', *sorted(name for name in sys.modules if '.' not in name))"

RUN = """
from mhcdiag.cli import main
sys.argv = {}
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""


def imported_by(statements: str) -> set[str]:
    """Top-level modules that a fresh interpreter has imported after the statements."""
    code = f"import sys\n{statements}\n{REPORT}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("IMPORTED")[2].split())


def imported_by_command(*arguments: str) -> set[str]:
    """The same for one command line that ends with exit code 0."""
    return imported_by(RUN.format(["mhcdiag", *arguments]))


def test_what_is_imported_would_be_seen():
    assert {"numpy", "mhcdiag"} <= imported_by("import numpy, mhcdiag")


def test_importing_the_package_imports_nothing_heavy():
    found = imported_by("import mhcdiag")
    assert "mhcdiag" in found
    assert found.isdisjoint((*HEAVY, "typer", "rich"))


@pytest.mark.parametrize(
    "module",
    [
        "mhcdiag.cli",
        "mhcdiag.errors",
        "mhcdiag.results.gain",
        "mhcdiag.policies.verdicts",
        "mhcdiag.results.trend",
    ],
)
def test_importing_a_light_module_imports_nothing_heavy(module: str):
    assert imported_by(f"import {module}").isdisjoint(HEAVY)


HELP = [["--help"], ["--version"], ["gain", "--help"], ["toy", "train", "--help"], ["trend", "--help"], ["cost"]]


@pytest.mark.parametrize("arguments", HELP, ids=" ".join)
def test_help_and_version_import_nothing_heavy(arguments: list[str]):
    found = imported_by_command(*arguments)
    assert "typer" in found
    assert found.isdisjoint(HEAVY)


@pytest.mark.parametrize("inputs", ["static", "random"])
def test_gain_imports_torch_and_nothing_heavy_beside_it(inputs: str):
    found = imported_by_command("gain", str(SAMPLE), "--inputs", inputs)
    assert "torch" in found
    assert found.isdisjoint({"matplotlib", "pandas", "transformers", "safetensors", "scipy"})


def test_a_check_of_logs_needs_no_torch():
    log = SAMPLE.parent / "logs" / "toy-mhc.jsonl"
    assert imported_by_command("check", str(log)).isdisjoint({"torch", "matplotlib"})


def test_the_trend_of_a_log_needs_no_torch():
    log = SAMPLE.parent / "logs" / "toy-mhc.jsonl"
    assert imported_by_command("trend", str(log)).isdisjoint({"torch", "matplotlib", "pandas"})
