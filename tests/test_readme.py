"""The README is true: its examples run, its help is the real one, its tables come from the code."""

import re

import pytest
from readme_blocks import README, ROOT, commands, regenerated

import mhcdiag
from mhcdiag.layouts import LAYOUTS

TEXT = README.read_text(encoding="utf-8")


def test_outputs_and_tables_are_those_of_the_code():
    """`python tests/readme_blocks.py` writes them again."""
    assert regenerated(TEXT).splitlines() == TEXT.splitlines()


def test_every_command_is_documented_with_its_help():
    from mhcdiag.cli.main import COMMANDS

    names = [*(name for name in COMMANDS if name != "toy"), "toy train", "toy compare"]
    assert {f"mhcdiag {name} --help" for name in names} <= set(commands(TEXT))


def test_every_layout_is_in_the_table():
    for layout in LAYOUTS:
        assert f"`{layout.name}`" in TEXT


@pytest.mark.parametrize("code", re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL))
def test_python_examples_run(code: str, tmp_path, monkeypatch):
    (tmp_path / "sample_checkpoints").symlink_to(ROOT / "sample_checkpoints")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    # What an example is about is there afterwards: a record that can be judged, or a file that can be measured.
    result = names.get("result") or mhcdiag.gain("maps.safetensors")
    assert result.layout in {"toy", "captured"}
    assert result.worst["forward", "norm"].value > 0


def test_links_to_files_lead_somewhere():
    for target in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (ROOT / target).exists(), target


def test_the_install_commands_are_those_that_ci_runs():
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "pip install -c constraints.txt -e '.[test]' && python -m pytest -q -n auto" in TEXT
    assert "-c constraints.txt -e '.[test]'" in ci
    assert "python -m pytest -q -n auto" in ci
