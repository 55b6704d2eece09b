"""The gates of a policy on the document of one input. They fail closed: what is missing or NaN never passes."""

import math
from collections.abc import Iterator, Sequence

from mhcdiag.gates.allowing import applies
from mhcdiag.metrics import METRICS, Document, Question, Reading
from mhcdiag.policy.record import Gate
from mhcdiag.results.check import Family, GateOutcome, Relation, Severity
from mhcdiag.results.numbers import Huge, Number, number, text, within
from mhcdiag.results.verdict import Verdict, combine

JUDGEABLE = "judgeable"
"""Name of the gate that every input has: that something can be said of it."""


def gates_for(gates: Sequence[Gate], family: Family, path: str) -> Iterator[Gate]:
    """Yield the gates of a policy that apply to an input."""
    for gate in gates:
        if METRICS[gate.metric].family is family and applies(gate.paths, path):
            yield gate


def judge_gate(gate: Gate, document: Document, baseline: Document | None) -> GateOutcome:
    """Hold one number of a document against one limit.

    NaN fails, whatever the limit. A number that is missing, here or in the baseline of a relative limit, could not be
    judged.

    Arguments: gate: of the policy; document: of the input, without allowed events; baseline: the same input before.
    """
    metric = METRICS[gate.metric]
    question = Question(series=gate.series, relation=gate.relation, baseline=baseline)
    now = metric.read(document, question)
    before = None
    if gate.max_ratio is not None:
        before = Reading(value=None, missing="not in the baseline")
        if baseline is not None:
            before = metric.read(baseline, question)
    limit = _limit(gate, before)
    verdict, finding = _verdict(now, before, limit, gate.relation)
    return GateOutcome(
        gate=gate.name,
        metric=gate.metric,
        series=gate.series or metric.series,
        path=str(document["path"]),
        verdict=verdict,
        severity=gate.severity,
        value=now.value,
        relation=gate.relation,
        limit=limit,
        baseline=None if before is None else before.value,
        finding=finding,
        reason=gate.reason,
        place=now.place,
    )


def unjudged(path: str, family: Family, finding: str) -> GateOutcome:
    """Return the outcome for an input of which nothing can be said, whatever the limits."""
    return GateOutcome(
        gate=JUDGEABLE,
        metric=f"{'gain' if family is Family.CHECKPOINT else 'spikes'}.{JUDGEABLE}",
        series=None,
        path=path,
        verdict=Verdict.UNJUDGED,
        severity=Severity.ERROR,
        value=None,
        relation=Relation.AT_LEAST,
        limit=None,
        baseline=None,
        finding=finding,
        reason="",
        place=None,
    )


def overall(outcomes: Sequence[GateOutcome], *, strict: bool) -> Verdict:
    """Return one verdict for all: gates of severity warning count under `strict` only.

    Where only warnings were judged it is a pass; where nothing was, it is not.
    """
    if not outcomes:
        return Verdict.UNJUDGED
    counted = [one.verdict for one in outcomes if strict or one.severity is Severity.ERROR]
    return combine(counted) if counted else Verdict.PASS


def _limit(gate: Gate, before: Reading | None) -> float | None:
    if before is None:
        return gate.max if gate.max is not None else gate.min
    if before.value is None or isinstance(before.value, Huge) or gate.max_ratio is None:
        return None
    limit = gate.max_ratio * before.value
    return limit if math.isfinite(limit) else None  # infinity would let everything pass


def _verdict(now: Reading, before: Reading | None, limit: float | None, relation: Relation) -> tuple[Verdict, str]:
    if now.value is None:
        return Verdict.UNJUDGED, now.missing or "no number was measured"
    if _is_nan(now.value):
        return Verdict.FAIL, "NaN is within no limit"
    if limit is None:
        why = "" if before is None else before.missing
        if before is not None and before.value is not None:
            why = f"the baseline's number, {text(before.value)}, is beyond comparison"
        return Verdict.UNJUDGED, f"no limit: {why}"
    if relation is Relation.AT_MOST:
        return (Verdict.PASS, "") if within(now.value, limit) else (Verdict.FAIL, "above its limit")
    return (Verdict.PASS, "") if now.value >= limit else (Verdict.FAIL, "below its limit")


def _is_nan(value: Number) -> bool:
    return number(value) == "nan"
