"""The terminal report of `mhcdiag check`: gates by input, the worst input last, then what decided.

People read the tail of a log: the last lines hold the deciding gate, value against limit, and the exit code.
"""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from mhcdiag.policies.gates import EVIDENCE
from mhcdiag.reports.check_words import (
    SAMPLED,
    Standing,
    allowed_text,
    decision_text,
    evidence_text,
    is_sampled,
    measured_text,
    sentence,
    standing,
    verdict_text,
)
from mhcdiag.reports.console import VERDICT_STYLES
from mhcdiag.reports.text import printable
from mhcdiag.results.check import CheckedInput, CheckReport, GateOutcome
from mhcdiag.results.verdict import Verdict
from mhcdiag.results.wording import plural

STANDING_STYLES = {
    Standing.PASSED: "green",
    Standing.WARNED: "yellow",
    Standing.UNJUDGED: "bold yellow",
    Standing.FAILED: "bold red",
}


MOST_COMMANDS = 3
"""Sampled checkpoints whose command stands in the tail."""


def check_report(report: CheckReport, *, details: bool = False) -> RenderableType:
    """Return the gates of every input; of gates that pass only their number, unless `details` asks for more."""
    parts: list[RenderableType] = [_head(report)]
    for checked in sorted(report.inputs, key=lambda one: one.verdict is not Verdict.PASS):
        parts += _lines(report, checked, details=details)
    parts += [Text(allowed_text(event), style="dim") for event in report.allowed]
    return Group(*parts, Text())


def decision(report: CheckReport) -> Iterator[Text]:
    """Yield the last lines: what decided, then the verdict with its counts and the exit code."""
    if report.verdict is not Verdict.PASS:
        yield Text(f"decided by {decision_text(report)}")
    else:
        # Here nothing is wrapped, so that the command can be copied.
        warned = [one for one in report.outcomes if one.gate == EVIDENCE]
        yield from (Text(f"{sentence(one)}", style=STANDING_STYLES[Standing.WARNED]) for one in warned[:MOST_COMMANDS])
        if len(warned) > MOST_COMMANDS:
            yield Text(f"and {len(warned) - MOST_COMMANDS} more {SAMPLED}", style=STANDING_STYLES[Standing.WARNED])
    word, _, rest = verdict_text(report).partition(":")
    sampled = report.verdict is Verdict.PASS and is_sampled(report.outcomes)
    yield Text.assemble(
        (word, STANDING_STYLES[Standing.WARNED] if sampled else VERDICT_STYLES[report.verdict]), f":{rest}"
    )


def _head(report: CheckReport) -> Text:
    families = [str(one.family) for one in report.inputs]
    counts = [f"{families.count(word)} {plural(families.count(word), word)}" for word in ("checkpoint", "log")]
    baseline = f", baseline {report.baseline}" if report.baseline else ""
    return Text(printable(f"{', '.join(counts)}; {report.policy}{baseline}"), style="bold")


def _lines(report: CheckReport, checked: CheckedInput, *, details: bool) -> Iterator[RenderableType]:
    own = report.outcomes_of(checked)
    marks = [standing(one, strict=report.strict) for one in own]
    worst = min(marks, key=list(Standing).index, default=Standing.UNJUDGED)
    path = printable(checked.path)
    if checked.result is None:
        # Most messages begin with the path; said twice it hides what is wrong.
        error = printable(checked.error)
        yield _marked(Standing.UNJUDGED, error if error.startswith(path) else f"{path}: {error}")
        return
    shown = [one for one, mark in zip(own, marks, strict=True) if details or mark is not Standing.PASSED]
    passed = f"{len(own) - len(shown)} {plural(len(own) - len(shown), 'gate')}"
    if not shown:
        yield _marked(worst, f"{path}  ({passed}{f', {SAMPLED}' if is_sampled(own) else ''})")
        return
    yield _marked(worst, path)
    names = max(len(printable(one.gate)) for one in shown)
    for outcome in shown:
        mark = standing(outcome, strict=report.strict)
        head = Text.assemble(
            " " * 10, (f"{mark.value:<10}", STANDING_STYLES[mark]), f"{printable(outcome.gate):<{names + 2}}"
        )
        if outcome.value is None:
            # A sentence: wrapped in its own column, it does not look like further gates.
            yield head
            yield Padding(Text(printable(outcome.finding)), (0, 0, 0, 20))
        else:
            yield head.append_text(Text.assemble(*_measured(outcome)))
    if len(shown) < len(own):
        yield Text.assemble(
            " " * 10, (f"{Standing.PASSED.value:<10}", STANDING_STYLES[Standing.PASSED]), f"{passed} more"
        )


def _measured(outcome: GateOutcome) -> Iterator[Text | str]:
    yield measured_text(outcome)
    if outcome.evidence is not None:
        yield Text(f"  {evidence_text(outcome)}", style="dim")
    if outcome.place is not None:
        line = "" if outcome.place.line is None else f", line {outcome.place.line:,}"
        yield Text(f"  {printable(outcome.place.text)}{line}", style="dim")


def _marked(one: Standing, words: str) -> Text:
    return Text.assemble((f"{one.value:<10}", STANDING_STYLES[one]), words)
