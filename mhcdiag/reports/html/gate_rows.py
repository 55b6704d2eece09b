"""Outcomes of gates in words and rows."""

from collections.abc import Sequence

from mhcdiag.reports.html.names import short_names
from mhcdiag.reports.html.table import Cell, Link, Pill, Table, columns
from mhcdiag.results.check import CheckedInput, CheckReport, GateOutcome, Relation, Severity
from mhcdiag.results.numbers import text, text_beside
from mhcdiag.results.verdict import Verdict

SIGNS = {
    (Relation.AT_MOST, Verdict.PASS): "≤",
    (Relation.AT_LEAST, Verdict.PASS): "≥",
    (Relation.AT_MOST, Verdict.FAIL): ">",
    (Relation.AT_LEAST, Verdict.FAIL): "<",
}

NUMBERS = ("value", "limit", "baseline")


def pill(outcome: GateOutcome) -> Pill:
    """The word for an outcome in its colour."""
    if outcome.severity is Severity.WARNING and outcome.verdict is not Verdict.PASS:
        return Pill(word="warning", tone="warning")
    return verdict_pill(outcome.verdict)


def verdict_pill(verdict: Verdict) -> Pill:
    """The word for a verdict in its colour."""
    return Pill(word="pass" if verdict is Verdict.PASS else verdict.upper(), tone=str(verdict))


def value_text(outcome: GateOutcome) -> str:
    """What was measured, with as many digits as tell it from the limit."""
    if outcome.value is None:
        return "missing"
    if outcome.limit is None:
        return text(outcome.value)
    if _counts(outcome):
        return f"{outcome.value:,.0f}"
    return text_beside(outcome.value, outcome.limit)[0]


def limit_text(outcome: GateOutcome) -> str:
    """On which side of which limit a value passes."""
    if outcome.limit is None:
        return "no limit"
    sign = "≤" if outcome.relation is Relation.AT_MOST else "≥"
    return f"{sign} {_bare_limit(outcome.limit)}"


def comparison_text(outcome: GateOutcome) -> str:
    """Value against limit, as a statement that is true: "3041 > 1000"."""
    if outcome.value is None or outcome.limit is None:
        return f"{value_text(outcome)}, {limit_text(outcome)}"
    sign = SIGNS.get((outcome.relation, outcome.verdict))
    if sign is None or outcome.value != outcome.value:
        return f"{value_text(outcome)}, limit {limit_text(outcome)}"
    return f"{value_text(outcome)} {sign} {_bare_limit(outcome.limit)}"


def metric_text(outcome: GateOutcome) -> str:
    """The metric, with its series where that is not the main one."""
    return outcome.metric if outcome.series in (None, "loss") else f"{outcome.metric} of {outcome.series}"


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
            pill(one),
            one.gate,
            input_link(one.path, report),
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
        (pill(each), each.gate, *_measured(each), where_text(each), each.finding, metric_text(each), each.reason)
        for each in report.outcomes
        if each.path == one.path
    ]
    labels = ("verdict", "gate", *NUMBERS, "where", "finding", "metric", "why the policy has it")
    return _without_empty(Table(caption="Gates", columns=columns(*labels, numeric=NUMBERS), rows=tuple(rows)))


def input_link(path: str, report: CheckReport) -> Cell:
    """A link to an input's own part of the page."""
    place = next((i for i, one in enumerate(report.inputs) if one.path == path), None)
    return path if place is None else Link(text=short_names(report)[path], target=f"input-{place + 1}")


def _bare_limit(limit: float) -> str:
    """A limit as people write it: 3 and 1000, not 3.000."""
    return f"{limit:g}" if 1e-4 <= abs(limit) < 1e6 or limit == 0 else text(limit)


def _counts(outcome: GateOutcome) -> bool:
    """Whether value and limit count events, which are not written with decimals."""
    kind = ".count." in outcome.metric or outcome.metric.endswith(".new")
    return kind and isinstance(outcome.value, float) and outcome.value.is_integer()


def _measured(outcome: GateOutcome) -> tuple[str, str, str]:
    baseline = "" if outcome.baseline is None else text(outcome.baseline)
    return value_text(outcome), limit_text(outcome), baseline


def _without_empty(table: Table) -> Table:
    """The table without columns that hold nothing."""
    kept = [i for i in range(len(table.columns)) if any(row[i] for row in table.rows)]
    return Table(
        caption=table.caption,
        columns=tuple(table.columns[i] for i in kept),
        rows=tuple(tuple(row[i] for i in kept) for row in table.rows),
    )
