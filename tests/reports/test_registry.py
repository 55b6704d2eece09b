"""Every file of a report format is in the tuple, and every format in the help and in docs/policies.md."""

import pkgutil
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from reports.check_reports import failing

from mhcdiag.cli.main import run
from mhcdiag.reports import check_formats
from mhcdiag.reports.check_formats import REPORT_FORMATS
from mhcdiag.reports.check_formats.interface import ReportFormat
from mhcdiag.reports.choosing import TEXT, formats_table, named_format, target_of

PAGE = Path(__file__).parents[2] / "docs" / "policies.md"
FILES = sorted(each.name for each in pkgutil.iter_modules(check_formats.__path__) if each.name != "interface")
EACH = pytest.mark.parametrize("each", REPORT_FORMATS, ids=lambda each: each.name)

LEFT_OUT = ("torch", "matplotlib", "pandas", "jaxtyping", "safetensors", "jinja2")
"""What an installation for logs only lacks (docs/logs.md, "Without torch")."""


@pytest.mark.parametrize("file", FILES)
def test_every_file_is_in_the_tuple(file: str) -> None:
    module = import_module(f"{check_formats.__name__}.{file}")
    declared = [one for one in vars(module).values() if isinstance(one, ReportFormat)]
    assert declared, f"{file}.py declares no ReportFormat"
    for one in declared:
        assert one in REPORT_FORMATS, f"{file}.py: '{one.name}' is missing in REPORT_FORMATS"
        assert one.render.__module__ == module.__name__, f"{file}.py: '{one.name}' is made in another file"


def test_the_folder_holds_one_file_per_format() -> None:
    assert len(FILES) == len(REPORT_FORMATS) == 7


def test_no_two_formats_share_a_name_or_a_suffix() -> None:
    names = [each.name for each in REPORT_FORMATS]
    suffixes = [suffix for each in REPORT_FORMATS for suffix in each.suffixes]
    assert len({TEXT, *names}) == 1 + len(names)
    assert len(set(suffixes)) == len(suffixes)


@EACH
def test_each_is_described_and_found_by_its_name_and_suffixes(each: ReportFormat) -> None:
    assert re.fullmatch("[a-z]+", each.name)
    assert len(each.about) > 10
    assert "\n" not in each.about
    assert "|" not in each.about
    assert named_format(each.name) is each
    assert target_of(f"{each.name}:a.txt").format is each
    for suffix in each.suffixes:
        assert re.fullmatch("[.][a-z]+", suffix)
        assert target_of(f"folder.x/a{suffix.upper()}").format is each


@EACH
def test_each_stands_in_the_help_and_the_readme(each: ReportFormat, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "--help"]) == 0
    printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
    (formats,) = re.findall("What to print: (.+?)[.] ", printed)
    assert each.name in re.split(", | or ", formats)
    (suffixes,) = re.findall(r"Also write a report: (.+?), or FORMAT:FILE ", printed)
    assert {*each.suffixes[:1]} <= {*re.findall("[.][a-z]+", suffixes)}
    (row,) = [line for line in formats_table().splitlines() if line.startswith(f"| `{each.name}` |")]
    assert each.about in row
    assert f"{row}\n" in PAGE.read_text(encoding="utf-8")


@EACH
def test_each_needs_only_what_it_says(each: ReportFormat) -> None:
    forbidden = [name for name in LEFT_OUT if name not in each.needs]
    if each.needs:  # matplotlib and jinja2 bring what they like
        forbidden = ["torch"]
    code = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({forbidden}))\n"
        "from reports.check_reports import failing\n"
        "from mhcdiag.reports.choosing import named_format\n"
        f"form = named_format({each.name!r})\n"
        "form.require()\n"
        "text = form.render(failing())\n"
        "light = {'numpy', 'rich'} & set(sys.modules)\n"
        "print(len(text), *sorted(light))"
    )
    tests = str(Path(__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tests, check=True)
    length, *imported = done.stdout.split()
    assert int(length) == len(each.render(failing()))
    assert each.needs or not imported


def test_a_missing_package_is_told_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("matplotlib", "jinja2"):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(ModuleNotFoundError, match=name):
            target_of("a.html").format.require()
        monkeypatch.undo()
    for each in REPORT_FORMATS:
        if each.name != "html":
            each.require()
