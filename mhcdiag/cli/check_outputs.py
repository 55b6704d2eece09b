"""Reports of a check: which formats there are, which file gets which, and writing them whole or not at all."""

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from mhcdiag.cli.output import check_writable, complain, console, write_text
from mhcdiag.errors import OutputError, SettingError
from mhcdiag.results.check import CheckReport

TEXT = "text"

FORMATS = {
    "json": "mhcdiag.reports.check_json:check_json",
    "markdown": "mhcdiag.reports.check_markdown:check_markdown",
    "csv": "mhcdiag.reports.check_csv:check_csv",
    "html": "mhcdiag.cli.html_report:html_report",
    "junit": "mhcdiag.reports.check_junit:check_junit",
    "sarif": "mhcdiag.reports.check_sarif:check_sarif",
    "github": "mhcdiag.reports.check_github:check_github",
}
"""Formats by name, and the function that makes each; imported when asked for."""

SUFFIXES = {
    ".json": "json",
    ".md": "markdown",
    ".csv": "csv",
    ".html": "html",
    ".htm": "html",
    ".xml": "junit",
    ".sarif": "sarif",
}
"""Formats by the end of a file's name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """One report to write."""

    format: str
    """Name of the format."""
    path: Path
    """File to write."""


def parse_format(name: str) -> str:
    """Return the name of a format. Raises: SettingError."""
    if name not in (TEXT, *FORMATS):
        raise SettingError(f"--format {name}: there is no such format; there are {', '.join([TEXT, *FORMATS])}")
    if name != TEXT:
        _writer(name)
    return name


def parse_targets(wanted: Sequence[str]) -> list[Target]:
    """Return the reports to write.

    Arguments: wanted: `FILE` or `FORMAT:FILE` each. Raises: SettingError for an unknown format or two reports to one
    file, OutputError for a file that could not be written; both before any work is done.
    """
    targets = []
    for word in wanted:
        name, separator, path = word.partition(":")
        if separator and name in FORMATS and path:
            target = Target(format=name, path=Path(path))
        elif (suffix := Path(word).suffix.lower()) in SUFFIXES:
            target = Target(format=SUFFIXES[suffix], path=Path(word))
        else:
            known = f"a name that ends in {', '.join(SUFFIXES)}, or FORMAT:FILE with one of {', '.join(FORMATS)}"
            raise SettingError(f"-o {word}: expected {known}")
        check_writable(target.path, option="-o")
        _writer(target.format)
        targets.append(target)
    places = [os.path.realpath(target.path) for target in targets]
    for index, place in enumerate(places):
        if place in places[:index]:
            raise SettingError(f"-o {targets[index].path}: two reports would be written to this file")
    return targets


def refuse_overwriting(targets: Sequence[Target], kept: Iterable[str | os.PathLike[str]]) -> None:
    """Refuse a report that would take the place of a file that the check needs.

    Arguments: targets: reports to write; kept: inputs, policy and baseline. Raises: OutputError.
    """
    places = {os.path.realpath(path) for path in kept}
    for target in targets:
        if os.path.realpath(target.path) in places:
            raise OutputError(f"-o {target.path}: cannot be written; the check reads this file")


def rendered(report: CheckReport, name: str) -> str:
    """Return the report in one of `FORMATS`."""
    return _writer(name)(report)


def _writer(name: str) -> Callable[[CheckReport], str]:
    """The function of a format. Where a package is missing that it needs, this says so before any work is done."""
    module, _, function = FORMATS[name].partition(":")
    found: Callable[[CheckReport], str] = getattr(import_module(module), function)
    return found


def write_reports(report: CheckReport, targets: Sequence[Target]) -> None:
    """Write every report, each under a temporary name first. Raises: OutputError."""
    texts = [rendered(report, target.format) for target in targets]
    for target, text in zip(targets, texts, strict=True):
        write_text(target.path, text, option="-o")


def print_report(report: CheckReport, *, name: str, quiet: bool, verbose: bool) -> None:
    """Print the report; what could not be read also stands on stderr."""
    for checked in report.inputs:
        if checked.error:
            complain(checked.error)
    if name != TEXT:
        sys.stdout.write(rendered(report, name))
        if name == "github":
            _tell_github(report)
        return
    from mhcdiag.reports.check_console import check_report, decision

    out = console()
    if not quiet:
        out.print(check_report(report, details=verbose))
    for line in decision(report):
        out.print(line, soft_wrap=True)


def _tell_github(report: CheckReport) -> None:
    """Append the job summary and the step's outputs where GitHub Actions asks for them."""
    from mhcdiag.reports.check_github import github_outputs, github_summary

    for variable, make in (("GITHUB_STEP_SUMMARY", github_summary), ("GITHUB_OUTPUT", github_outputs)):
        path = os.environ.get(variable)
        if path:
            try:
                with Path(path).open("a", encoding="utf-8") as file:
                    file.write(make(report))
            except OSError as error:
                raise OutputError(f"{variable}={path}: {error.strerror or error}") from error
