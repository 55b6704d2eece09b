"""What stands at the top of the page: the verdict, and what decided it."""

from dataclasses import dataclass

from mhcdiag.reports.check_words import metric_text
from mhcdiag.reports.html.gate_rows import comparison_text, input_link, pill, where_text
from mhcdiag.reports.html.parts import Cell, Pill
from mhcdiag.results.check import CheckReport, Family, GateOutcome, GateSeverity
from mhcdiag.results.numbers import Huge, is_finite
from mhcdiag.results.verdict import Relation, Verdict
from mhcdiag.results.wording import plural


@dataclass(frozen=True, kw_only=True, slots=True)
class DecidingGate:
    """The gate at the top of the page, with its numbers in large type."""

    heading: str
    """Why it stands there."""
    pill: Pill
    """Its verdict."""
    gate: str
    """Its name."""
    comparison: str
    """Value against limit."""
    facts: tuple[tuple[str, Cell], ...]
    """What else there is to say: label and text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Headline:
    """The verdict in words."""

    word: str
    """Pass, Fail, Could not judge."""
    tone: str
    """Class of its colours."""
    summary: str
    """How many gates and inputs stand behind it."""
    exit_text: str
    """What the command ended with."""
    deciding: DecidingGate | None
    """What decided it; None where no gate ran."""


VERDICT_WORDS = {Verdict.PASS: "Pass", Verdict.FAIL: "Fail", Verdict.UNJUDGED: "Could not judge"}


def headline(report: CheckReport) -> Headline:
    """The verdict, and the one number that made it so."""
    forgiven = report.exit_code == 0 and report.verdict is not Verdict.PASS
    decided = report.decided_by
    heading = "What decided it"
    if decided is None and report.verdict is Verdict.PASS:
        decided, heading = _closest(report), "Closest to its limit"
    return Headline(
        word=VERDICT_WORDS[report.verdict],
        tone=str(report.verdict),
        summary=_summary(report),
        exit_text=f"exit code {report.exit_code}" + (" because of --exit-zero" if forgiven else ""),
        deciding=None if decided is None else _deciding(decided, report, heading),
    )


def _summary(report: CheckReport) -> str:
    counts = {Family.CHECKPOINT: 0, Family.LOG: 0}
    for one in report.inputs:
        counts[one.family] += 1
    inputs = " and ".join(_number_of(count, str(family)) for family, count in counts.items() if count) or "no inputs"
    if not report.outcomes:
        return f"Nothing was checked: no gate ran on {inputs}."
    total = len(report.outcomes)
    parts = []
    for verdict, words in ((Verdict.FAIL, "failed"), (Verdict.UNJUDGED, "could not be judged")):
        counted = [one for one in report.outcomes if one.verdict is verdict]
        errors = [one for one in counted if one.severity is GateSeverity.ERROR]
        if errors:
            parts.append(f"{len(errors)} {words}")
        if len(counted) > len(errors):
            parts.append(f"{_number_of(len(counted) - len(errors), 'warning')} ({words})")
    passed = sum(one.verdict is Verdict.PASS for one in report.outcomes)
    parts.append(f"{passed} passed")
    unread = sum(bool(one.error) for one in report.inputs)
    end = f"; {_number_of(unread, 'input')} could not be read" if unread else ""
    return f"Of {_number_of(total, 'gate outcome')} on {inputs}: {', '.join(parts)}{end}."


def _deciding(one: GateOutcome, report: CheckReport, heading: str) -> DecidingGate:
    facts: list[tuple[str, Cell]] = [("input", input_link(one.path, one.family, report)), ("metric", metric_text(one))]
    optional = (("where", where_text(one)), ("finding", one.finding), ("why the policy has this gate", one.reason))
    facts += [(label, words) for label, words in optional if words]
    return DecidingGate(
        heading=heading,
        pill=pill(one, strict=report.strict),
        gate=one.gate,
        comparison=comparison_text(one),
        facts=tuple(facts),
    )


def _closest(report: CheckReport) -> GateOutcome | None:
    """The gate that came nearest to its limit, as a share of it; None where that means nothing."""
    shares = [(share, -place) for place, one in enumerate(report.outcomes) if (share := _share(one)) is not None]
    return report.outcomes[-max(shares)[1]] if shares else None


def _share(one: GateOutcome) -> float | None:
    if one.value is None or one.limit is None or isinstance(one.value, Huge) or not is_finite(one.value):
        return None
    over, under = (one.value, one.limit) if one.relation is Relation.AT_MOST else (one.limit, one.value)
    return over / under if under > 0 and over > 0 else None


def _number_of(number: int, noun: str) -> str:
    return f"{number} {plural(number, noun)}"
