"""Outcomes of gates: the headline of a page with what decided it, and tables of them all."""

from collections.abc import Sequence
from dataclasses import dataclass

from mhcdiag.reports.check_words import (
    SAMPLED,
    Standing,
    evidence_text,
    is_sampled,
    measured_text,
    metric_text,
    number_text,
    standing,
    texts_beside,
)
from mhcdiag.reports.html.parts import Cell, Link, Pill, Table, columns
from mhcdiag.results.check import CheckedInput, CheckReport, Family, GateOutcome, GateSeverity
from mhcdiag.results.numbers import Huge, is_finite
from mhcdiag.results.verdict import Relation, Verdict
from mhcdiag.results.wording import plural, short_names

VERDICT_WORDS = {Verdict.PASS: "Pass", Verdict.FAIL: "Fail", Verdict.UNJUDGED: "Could not judge"}
NUMBERS = ("value", "limit", "baseline")

TONES = {
    Standing.PASSED: str(Verdict.PASS),
    Standing.WARNED: "warning",
    Standing.UNJUDGED: str(Verdict.UNJUDGED),
    Standing.FAILED: str(Verdict.FAIL),
}
"""Colour of a standing, by the name of its class in the style sheet."""


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
    """Pass, Pass on sampled inputs only, Fail, Could not judge."""
    tone: str
    """Class of its colours."""
    summary: str
    """How many gates and inputs stand behind it."""
    exit_text: str
    """What the command ended with."""
    deciding: DecidingGate | None
    """What decided it; None where no gate ran."""


def headline(report: CheckReport) -> Headline:
    """The verdict, and the one number that made it so."""
    forgiven = report.exit_code == 0 and report.verdict is not Verdict.PASS
    decided = report.decided_by
    heading = "What decided it"
    if decided is None and report.verdict is Verdict.PASS:
        decided, heading = _closest(report), "Closest to its limit"
    sampled = report.verdict is Verdict.PASS and is_sampled(report.outcomes)
    return Headline(
        word=f"{VERDICT_WORDS[report.verdict]} {SAMPLED}" if sampled else VERDICT_WORDS[report.verdict],
        tone=TONES[Standing.WARNED] if sampled else str(report.verdict),
        summary=_summary(report),
        exit_text=f"exit code {report.exit_code}" + (" because of --exit-zero" if forgiven else ""),
        deciding=None if decided is None else _deciding(decided, report, heading),
    )


def pill(outcome: GateOutcome, *, strict: bool) -> Pill:
    """The word for an outcome in its colour."""
    found = standing(outcome, strict=strict)
    return Pill(word=found.value, tone=TONES[found])


def verdict_pill(verdict: Verdict, outcomes: Sequence[GateOutcome] = ()) -> Pill:
    """The word for the verdict on an input in its colour; of a pass on a sample that of a warning."""
    if verdict is Verdict.PASS and is_sampled(outcomes):
        return Pill(word=f"pass {SAMPLED}", tone=TONES[Standing.WARNED])
    return Pill(word="pass" if verdict is Verdict.PASS else verdict.upper(), tone=str(verdict))


def comparison_text(outcome: GateOutcome) -> str:
    """Value against limit, as a statement that is true: "3041 > 1000"."""
    return measured_text(outcome).replace("<=", "≤").replace(">=", "≥")


def where_text(outcome: GateOutcome) -> str:
    """Where the value comes from; empty where it has no one place."""
    if outcome.place is None:
        return ""
    line = "" if outcome.place.line is None else f", line {outcome.place.line:,}"
    return f"{outcome.place.text}{line}"


def gate_table(outcomes: Sequence[GateOutcome], report: CheckReport, *, caption: str) -> Table:
    """One row per outcome, on whatever inputs."""
    labels = ("verdict", "gate", "input", *NUMBERS, "evidence", "where", "finding", "metric")
    rows = [
        (
            pill(one, strict=report.strict),
            one.gate,
            input_link(one.path, one.family, report),
            *_measured(one),
            evidence_text(one),
            where_text(one),
            one.finding or one.reason,
            metric_text(one),
        )
        for one in outcomes
    ]
    return _without_empty(Table(caption=caption, columns=columns(*labels, numeric=NUMBERS), rows=tuple(rows)))


def gates_of(one: CheckedInput, report: CheckReport) -> Table:
    """The gates on one input."""
    rows = [
        (
            pill(each, strict=report.strict),
            each.gate,
            *_measured(each),
            evidence_text(each),
            where_text(each),
            each.finding,
            metric_text(each),
            each.reason,
        )
        for each in report.outcomes_of(one)
    ]
    labels = ("verdict", "gate", *NUMBERS, "evidence", "where", "finding", "metric", "why the policy has it")
    return _without_empty(Table(caption="Gates", columns=columns(*labels, numeric=NUMBERS), rows=tuple(rows)))


def input_link(path: str, family: Family, report: CheckReport) -> Cell:
    """A link to an input's own part of the page."""
    place = next((i for i, one in enumerate(report.inputs) if (one.path, one.family) == (path, family)), None)
    return path if place is None else Link(text=input_names(report)[path], target=f"input-{place + 1}")


def input_names(report: CheckReport) -> dict[str, str]:
    """Name by path: the path without the folders that all inputs share."""
    # A file may be checked as a checkpoint and as a log; it has one name then.
    paths = list(dict.fromkeys(one.path for one in report.inputs))
    return dict(zip(paths, short_names(paths), strict=True))


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
    optional = {
        "evidence": evidence_text(one),
        "where": where_text(one),
        "finding": one.finding,
        "why the policy has this gate": one.reason,
    }
    facts += [(label, words) for label, words in optional.items() if words]
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


def _measured(outcome: GateOutcome) -> tuple[str, str, str]:
    """Value, limit and baseline, with as many digits as tell value and limit apart."""
    value = number_text(outcome.value)
    limit = "no limit"
    if outcome.limit is not None:
        sign = "≤" if outcome.relation is Relation.AT_MOST else "≥"
        beside = None if outcome.value is None else texts_beside(outcome.value, outcome.limit)
        value, shown = (value, number_text(outcome.limit)) if beside is None else beside
        limit = f"{sign} {shown}"
    return value, limit, "" if outcome.baseline is None else number_text(outcome.baseline)


def _without_empty(table: Table) -> Table:
    """The table without columns that hold nothing."""
    kept = [i for i in range(len(table.columns)) if any(row[i] for row in table.rows)]
    return Table(
        caption=table.caption,
        columns=tuple(table.columns[i] for i in kept),
        rows=tuple(tuple(row[i] for i in kept) for row in table.rows),
    )
