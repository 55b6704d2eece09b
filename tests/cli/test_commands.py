"""Commands are found by name, imported when called, and cost nothing to each other."""

import subprocess
import sys
from pathlib import Path

import pytest

from mhcdiag.cli.main import COMMANDS, run


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help_with_its_first_sentence(name, capsys):
    assert run([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"Usage: mhcdiag {name}" in shown


def test_the_help_lists_every_command(capsys):
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"│ {name} " in shown for name in COMMANDS)


def test_a_misspelt_command_is_told_the_right_one(capsys):
    assert run(["gian"]) == 2
    assert "Did you mean 'gain'?" in capsys.readouterr().err


def test_a_command_does_not_import_another():
    code = (
        "import sys; from mhcdiag.cli.main import run; run(['explain', '--isolated']);"
        "sys.exit('mhcdiag.cli.gain' in sys.modules or 'mhcdiag.cli.check' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_no_variable_ends_a_command_early(monkeypatch, capsys):
    """A CI job may well have a variable MHCDIAG_VERSION."""
    monkeypatch.setenv("MHCDIAG_VERSION", "1")
    assert run(["explain", "--isolated"]) == 0
    assert "mhcdiag 0." not in capsys.readouterr().out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has /dev/full")
@pytest.mark.parametrize("command", [["--version"], ["layouts"], ["--help"]], ids=" ".join)
def test_a_full_disk_behind_stdout_is_no_bug(command: list[str]):
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "mhcdiag", *command], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (ran.returncode, ran.stderr) == (2, "mhcdiag: standard output: No space left on device\n")
