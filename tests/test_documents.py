"""README.md and docs/ are true: examples run, help pages are the real ones, tables come from the code."""

import re
from pathlib import Path

import pytest
from document_blocks import COMMAND_LINE, DOCS, PAGES, README, ROOT, commands, regenerated, text_of

import mhcdiag

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
EXAMPLES = [
    pytest.param(code, id=page.name)
    for page in PAGES
    for code in re.findall(r"^```python\n(.*?)^```$", text_of(page), re.MULTILINE | re.DOTALL)
]


@each_page
def test_outputs_and_tables_are_those_of_the_code(page: Path):
    """`python tests/document_blocks.py` writes them again."""
    assert regenerated(text_of(page)).splitlines() == text_of(page).splitlines()


def test_every_command_is_documented_with_its_help():
    from mhcdiag.cli.main import COMMANDS

    names = [*(name for name in COMMANDS if name != "toy"), "toy train", "toy compare"]
    assert {f"mhcdiag {name} --help" for name in names} <= set(commands(text_of(COMMAND_LINE)))


@pytest.mark.parametrize("code", EXAMPLES)
def test_python_examples_run(code: str, tmp_path, monkeypatch):
    (tmp_path / "sample_checkpoints").symlink_to(ROOT / "sample_checkpoints")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(code, "example", "exec"), names)
    # What an example is about is there afterwards: a record that can be judged, or a file that can be measured.
    result = names.get("result") or mhcdiag.gain("maps.safetensors")
    assert result.layout in {"toy", "captured"}
    assert result.worst["forward", "norm"].value > 0


def anchors(text: str) -> set[str]:
    """What the headings of a page are called in links."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_page
def test_links_lead_somewhere(page: Path):
    for target, anchor in re.findall(r"\]\(([^)#:]*)#?([^):]*)\)", text_of(page)):
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(text_of(file)), f"{page.name}: {target}#{anchor}"


def test_every_page_is_reached_from_the_readme():
    linked = set(re.findall(r"\]\(docs/([\w-]+\.md)", text_of(README)))
    assert linked == {page.name for page in DOCS.glob("*.md")}


def test_the_readme_can_be_read_in_one_go():
    text = text_of(README)
    assert len(text.splitlines()) <= 220
    assert len(text.encode()) <= 14_000


def test_the_install_commands_are_those_that_ci_runs():
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "pip install -c constraints.txt -e '.[test]' && python -m pytest -q -n auto" in text_of(README)
    assert "-c constraints.txt -e '.[test]'" in ci
    assert "python -m pytest -q -n auto" in ci
