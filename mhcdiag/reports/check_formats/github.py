"""The outcome of `mhcdiag check` for GitHub Actions: annotations, the job summary, and outputs of the step."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from mhcdiag.reports.check_formats.interface import ReportFormat
from mhcdiag.reports.check_formats.markdown import check_markdown
from mhcdiag.reports.check_words import (
    Standing,
    allowed_text,
    decision_text,
    input_facts,
    sentence,
    shortened,
    standing,
    tally,
    verdict_text,
    worst_first,
)
from mhcdiag.reports.text import printable
from mhcdiag.results.check import AllowedEvent, CheckedInput, CheckReport, GateOutcome
from mhcdiag.results.verdict import Verdict

MOST_ANNOTATIONS = 10
"""Of one kind in one step: GitHub shows no more, and drops the others without a word."""

MOST_CHARACTERS = 4000
"""Of one message, far below what GitHub takes, so that one name cannot fill the page."""

MOST_BYTES = 1024 * 1024
"""GitHub shows no job summary that is larger than this: not its beginning either."""

CUT = "\n\n**This summary was cut: the report is larger than a job summary may be.**\n"


class Command(StrEnum):
    """A kind of annotation."""

    ERROR = "error"
    WARNING = "warning"
    NOTICE = "notice"


@dataclass(frozen=True, kw_only=True, slots=True)
class Annotation:
    """One message, at a file where it is about one."""

    command: Command
    """Its kind."""
    title: str
    """Its heading."""
    message: str
    """What it says; may have several lines."""
    path: str = ""
    """The file; empty where it is about the whole check."""
    line: int | None = None
    """Line of the file, from 1."""


COMMANDS = {Standing.FAILED: Command.ERROR, Standing.UNJUDGED: Command.ERROR, Standing.WARNED: Command.WARNING}


def check_github(report: CheckReport) -> str:
    """Return workflow commands, one a line: errors, warnings, then the verdict and the allowed events as notices.

    At most ten of a kind: where there are more, the tenth says how many are left out.
    """
    made = [*_of_inputs(report), *_of_gates(report)]
    # A failed step without an error annotation is red and says nowhere why.
    if report.verdict is not Verdict.PASS and not any(one.command is Command.ERROR for one in made):
        made.append(Annotation(command=Command.ERROR, title="mhcdiag check", message=decision_text(report)))
    verdict = f"{verdict_text(report)}\n{decision_text(report)}"
    made.append(Annotation(command=Command.NOTICE, title="mhcdiag check", message=verdict))
    made += [_allowed(one) for one in report.allowed]
    # GitHub counts by kind, so each kind is cut on its own.
    kept = [one for kind in Command for one in _at_most([one for one in made if one.command is kind])]
    return "".join(f"{_command(one)}\n" for one in kept)


GITHUB = ReportFormat(
    name="github",
    suffixes=(),
    about="GitHub Actions: annotations; also the job summary and outputs where a job runs",
    render=check_github,
)


def github_summary(report: CheckReport) -> str:
    """Return the Markdown report for the job summary, cut at the end of a line where GitHub would refuse it."""
    text = check_markdown(report)
    whole = text.encode("utf-8")
    if len(whole) < MOST_BYTES:
        return text
    # GitHub limits bytes, not letters; a cut at the end of a line splits neither a letter nor a row of a table.
    kept = whole[: MOST_BYTES - len(CUT) - 1]
    return kept[: kept.rfind(b"\n")].decode("utf-8") + CUT


def github_outputs(report: CheckReport) -> str:
    """Return the lines that set the outputs of a step.

    verdict, exit-code, failed, unjudged, unreadable; `evidence` is the weakest that any gate on a gain rests on, empty
    where there is none; `decided-by` is the name of a gate, or says what else decided, and is empty for a pass.
    """
    count, decided = tally(report), report.decided_by
    words = "" if report.verdict is Verdict.PASS else decision_text(report)
    outputs = {
        "verdict": str(report.verdict),
        "exit-code": str(report.exit_code),
        "failed": str(count.failed),
        "unjudged": str(count.unjudged),
        "unreadable": str(count.unreadable),
        "evidence": str(report.evidence or ""),
        "decided-by": words if decided is None else decided.gate,
    }
    return "".join(_output(name, value) for name, value in outputs.items())


def _of_inputs(report: CheckReport) -> list[Annotation]:
    return [_unreadable(one) for one in report.inputs if one.result is None]


def _unreadable(one: CheckedInput) -> Annotation:
    return Annotation(command=Command.ERROR, title="mhcdiag: unreadable input", message=input_facts(one), path=one.path)


def _of_gates(report: CheckReport) -> list[Annotation]:
    found = [(one, standing(one, strict=report.strict)) for one in worst_first(report)]
    return [_gate(one, its) for one, its in found if its is not Standing.PASSED]


def _gate(one: GateOutcome, found: Standing) -> Annotation:
    reason = f"\nwhy this gate: {printable(one.reason)}" if one.reason else ""
    return Annotation(
        command=COMMANDS[found],
        title=f"{found}: {one.gate}",
        message=sentence(one) + reason,
        path=one.path,
        line=one.place.line if one.place else None,
    )


def _allowed(one: AllowedEvent) -> Annotation:
    return Annotation(
        command=Command.NOTICE, title="mhcdiag: allowed event", message=allowed_text(one), path=one.path, line=one.line
    )


def _at_most(kind: Sequence[Annotation]) -> list[Annotation]:
    if len(kind) <= MOST_ANNOTATIONS:
        return list(kind)
    kept = list(kind[: MOST_ANNOTATIONS - 1])
    message = f"and {len(kind) - len(kept):,} more: the job summary and the report files list all"
    return [*kept, Annotation(command=kind[0].command, title="mhcdiag check", message=message)]


def _command(one: Annotation) -> str:
    known = {"file": printable(one.path), "line": one.line or "", "title": shortened(printable(one.title), 255)}
    properties = ",".join(f"{name}={_property(str(value))}" for name, value in known.items() if value)
    return f"::{one.command} {properties}::{_data(shortened(one.message, MOST_CHARACTERS))}"


def _data(text: str) -> str:
    # The runner ends a command at a line feed and at a carriage return, and undoes these three escapes. The percent
    # sign comes first: escaped last, it would escape the escapes.
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    # Properties stand between commas and end at the colons before the message.
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _output(name: str, value: str) -> str:
    """Return one output; one of several lines stands between delimiters that occur nowhere in it."""
    plain = value.encode("utf-8", "backslashreplace").decode("utf-8")  # a file name may hold bytes that are no text
    if not any(c in plain for c in "\r\n"):
        return f"{name}={plain}\n"
    # A value that held its own delimiter could set outputs of its choice; a hash of the value cannot stand in it.
    delimiter = f"end_{hashlib.sha256(plain.encode('utf-8')).hexdigest()}"
    return f"{name}<<{delimiter}\n{plain}\n{delimiter}\n"
