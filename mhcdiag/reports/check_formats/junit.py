"""The outcome of `mhcdiag check` as JUnit XML, which CI servers show as test results.

One suite per input, one test case per gate. What fails is a failure, what could not be judged or read is an error, and
a warning that does not count is a skipped test, so that it is seen and changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from xml.etree import ElementTree as Tree

from mhcdiag.reports.check_formats.interface import ReportFormat
from mhcdiag.reports.check_words import (
    Standing,
    allowed_text,
    decision_text,
    input_facts,
    input_remarks,
    sentence,
    standing,
)
from mhcdiag.reports.text import printable
from mhcdiag.results.check import CheckedInput, CheckReport, Family, GateOutcome
from mhcdiag.results.verdict import Verdict


class Ending(StrEnum):
    """How a test case that does not pass is marked."""

    FAILURE = "failure"
    ERROR = "error"
    SKIPPED = "skipped"


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One test case."""

    group: str
    """Its class name: `mhcdiag.gain`, `mhcdiag.spikes`."""
    name: str
    """Its name; that of the gate."""
    path: str
    """The input."""
    line: int | None
    """Line of the log."""
    ending: Ending | None
    """How it is marked; None for a pass."""
    message: str
    """One sentence, also for a pass."""
    details: str
    """What else a reader of a case that does not pass wants to know; may be empty."""


# JUnit knows no warning: `skipped` is the one mark that servers show and count, and that fails no build.
ENDINGS = {Standing.FAILED: Ending.FAILURE, Standing.UNJUDGED: Ending.ERROR, Standing.WARNED: Ending.SKIPPED}
GROUPS = {Family.CHECKPOINT: "mhcdiag.gain", Family.LOG: "mhcdiag.spikes"}


def check_junit(report: CheckReport) -> str:
    """Return the report as an XML document.

    No document of a check that did not pass lacks a failure or error: where no gate and no input carries the verdict,
    a case of its own does, because an empty document reads as success.
    """
    cases = [_gate(one, strict=report.strict) for one in report.outcomes]
    cases += [_unreadable(one) for one in report.inputs if one.result is None]
    if report.verdict is not Verdict.PASS and not any(case.ending in (Ending.FAILURE, Ending.ERROR) for case in cases):
        cases.append(_whole(report))
    # An input without a gate gets a suite as well, so that it is not missing from the list.
    suites: dict[str, list[Case]] = {one.path: [] for one in report.inputs}
    for case in cases:
        suites.setdefault(case.path, []).append(case)
    root = Tree.Element("testsuites", {"name": "mhcdiag check", **_totals(cases)})
    for path, members in suites.items():
        root.append(_suite(path, members, report))
    Tree.indent(root)
    # Written here: for text ElementTree names the encoding of the locale, and files are written in UTF-8.
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{Tree.tostring(root, encoding="unicode")}\n'


JUNIT = ReportFormat(
    name="junit",
    suffixes=(".xml",),
    suffix_note="(JUnit)",
    about="Jenkins, GitLab, any CI: a test case per gate and input; could not judge is an error, a warning is skipped",
    render=check_junit,
)


def _gate(one: GateOutcome, *, strict: bool) -> Case:
    found = standing(one, strict=strict)
    return Case(
        group=f"mhcdiag.{one.metric.partition('.')[0] or 'check'}",
        name=one.gate,
        path=one.path,
        line=one.place.line if one.place else None,
        ending=ENDINGS.get(found),
        message=f"{found}: {sentence(one)}",
        details=f"why this gate: {one.reason}" if one.reason else "",
    )


def _unreadable(one: CheckedInput) -> Case:
    message = input_facts(one)
    return Case(
        group=GROUPS[one.family],
        name="read",
        path=one.path,
        line=None,
        ending=Ending.ERROR,
        message=message,
        details="",
    )


def _whole(report: CheckReport) -> Case:
    ending = Ending.FAILURE if report.verdict is Verdict.FAIL else Ending.ERROR
    return Case(
        group="mhcdiag.check",
        name="verdict",
        path="mhcdiag check",
        line=None,
        ending=ending,
        message=decision_text(report),
        details="",
    )


def _totals(cases: Sequence[Case]) -> dict[str, str]:
    ended = [case.ending for case in cases]
    counts = {
        "tests": len(cases),
        "failures": ended.count(Ending.FAILURE),
        "errors": ended.count(Ending.ERROR),
        "skipped": ended.count(Ending.SKIPPED),
        "time": 0,
    }
    return {name: str(count) for name, count in counts.items()}


def _suite(path: str, cases: Sequence[Case], report: CheckReport) -> Tree.Element:
    """Return one suite; its output holds what the input was read as, and what its reader must know."""
    suite = Tree.Element("testsuite", {"name": printable(path), **_totals(cases), "timestamp": report.created})
    for case in cases:
        suite.append(_case(case))
    about = [line for one in report.inputs if one.path == path for line in (input_facts(one), *input_remarks(one))]
    about += [allowed_text(one) for one in report.allowed if one.path == path]
    if about:
        Tree.SubElement(suite, "system-out").text = "\n".join(about)
    return suite


def _case(case: Case) -> Tree.Element:
    # Servers group by `classname`; `file` is what GitLab links to. A time is expected, and a gate takes none.
    known = {"classname": case.group, "name": case.name, "file": case.path, "time": "0"}
    element = Tree.Element("testcase", {name: printable(words) for name, words in known.items()})
    if case.line is not None:
        element.set("line", str(case.line))
    if case.ending is None:
        Tree.SubElement(element, "system-out").text = case.message
        return element
    marked = Tree.SubElement(element, str(case.ending), {"message": case.message})
    if case.ending is not Ending.SKIPPED:
        marked.set("type", "mhcdiag.GateFailed" if case.ending is Ending.FAILURE else "mhcdiag.NotJudged")
    # Servers differ in whether they show the attribute or the text: the message stands in both.
    marked.text = "\n".join(filter(None, (case.message, printable(case.details))))
    return element
