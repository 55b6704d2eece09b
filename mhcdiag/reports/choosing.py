"""Which report format a word of the command line means, and how the formats are listed for people."""

from dataclasses import dataclass
from pathlib import Path

from mhcdiag.errors import SettingError
from mhcdiag.reports.check_formats import REPORT_FORMATS
from mhcdiag.reports.check_formats.interface import ReportFormat

TEXT = "text"
"""The report on the terminal, which has a width and colours and is no `ReportFormat`."""

ABOUT_TEXT = "people at a terminal: the last lines name the gate that decided, value against limit, and the exit code"

_BY_NAME = {each.name: each for each in REPORT_FORMATS}
_BY_SUFFIX = {suffix: each for each in REPORT_FORMATS for suffix in each.suffixes}


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """One report that is written to a file."""

    format: ReportFormat
    """What is written."""
    path: Path
    """Where to."""


def named_format(name: str) -> ReportFormat | None:
    """Return the format that `--format` names; None for the report on the terminal.

    Raises
    ------
    SettingError
        There is no such format.
    """
    if name != TEXT and name not in _BY_NAME:
        raise SettingError(f"--format {name}: there is no such format; there are {', '.join([TEXT, *_BY_NAME])}")
    return _BY_NAME.get(name)


def target_of(word: str) -> Target:
    """Return the report that `-o` asks for by `FILE` or `FORMAT:FILE`.

    Raises
    ------
    SettingError
        The name of the file tells no format.
    """
    # A name of a format decides first: `junit:results.json` is JUnit. Any other colon is part of a file name.
    name, _, path = word.partition(":")
    if name in _BY_NAME and path:
        return Target(format=_BY_NAME[name], path=Path(path))
    form = _BY_SUFFIX.get(Path(word).suffix.lower())
    if form is None:
        known = f"a name that ends in {', '.join(_BY_SUFFIX)}, or FORMAT:FILE with one of {', '.join(_BY_NAME)}"
        raise SettingError(f"-o {word}: expected {known}")
    return Target(format=form, path=Path(word))


def names_in_words() -> str:
    """Return the names of all formats for the help of `--format`: "text, json, ... or github"."""
    *most, last = [TEXT, *_BY_NAME]
    return f"{', '.join(most)} or {last}"


def suffixes_in_words() -> str:
    """Return the usual suffixes for the help of `-o`, those that need a note last: ".json, .md, ..., .xml (JUnit)"."""
    with_suffix = sorted((each for each in REPORT_FORMATS if each.suffixes), key=lambda each: bool(each.suffix_note))
    return ", ".join(f"{each.suffixes[0]} {each.suffix_note}".rstrip() for each in with_suffix)


def formats_table() -> str:
    """Return all formats as the rows of a Markdown table: name, suffix, readers."""
    rows = [f"| `{TEXT}` | | {ABOUT_TEXT} |\n"]
    for each in REPORT_FORMATS:
        option = each.suffixes[0] if each.suffixes else f"{each.name}:FILE"
        rows.append(f"| `{each.name}` | `{option}` | {each.about} |\n")
    return "".join(rows)
