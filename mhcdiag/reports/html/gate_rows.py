"""Outcomes of gates in words and rows."""

from collections.abc import Sequence

from mhcdiag.reports.check_words import Standing, measured_text, metric_text, number_text, standing, texts_beside
from mhcdiag.reports.html.parts import Cell, Link, Pill, Table, columns
from mhcdiag.results.check import CheckedInput, CheckReport, Family, GateOutcome
from mhcdiag.results.verdict import Relation, Verdict
from mhcdiag.results.wording import short_names

NUMBERS = ("value", "limit", "baseline")

TONES = {
    Standing.PASSED: str(Verdict.PASS),
    Standing.WARNED: "warning",
    Standing.UNJUDGED: str(Verdict.UNJUDGED),
    Standing.FAILED: str(Verdict.FAIL),
}
"""Colour of a standing, by the name of its class in the style sheet."""


def pill(outcome: GateOutcome, *, strict: bool) -> Pill:
    """The word for an outcome in its colour."""
    found = standing(outcome, strict=strict)
    return Pill(word=found.value, tone=TONES[found])


def verdict_pill(verdict: Verdict) -> Pill:
    """The word for a verdict in its colour."""
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
    labels = ("verdict", "gate", "input", *NUMBERS, "where", "finding", "metric")
    rows = [
        (
            pill(one, strict=report.strict),
            one.gate,
            input_link(one.path, one.family, report),
            *_measured(one),
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
            where_text(each),
            each.finding,
            metric_text(each),
            each.reason,
        )
        for each in report.outcomes_of(one)
    ]
    labels = ("verdict", "gate", *NUMBERS, "where", "finding", "metric", "why the policy has it")
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
