"""The gates of a policy on the document of one input. They fail closed: what is missing or NaN never passes."""

import math
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from mhcdiag.metrics import METRICS, Document, Question, Reading
from mhcdiag.policies.policy import ANY, Allow, PolicyGate
from mhcdiag.results.check import AllowedEvent, Family, GateOutcome, GateSeverity, Relation
from mhcdiag.results.numbers import Huge, Number, number, text, within
from mhcdiag.results.verdict import Verdict, combine


def without_allowed(document: Document, allowed: Sequence[Allow]) -> tuple[Document, tuple[AllowedEvent, ...]]:
    """Return the document of a log without its known events, and those events.

    Arguments: document: of `spikes_document`; allowed: the policy's list.
    """
    path = str(document["path"])
    left_out: list[AllowedEvent] = []
    series = {}
    for name, one in document["series"].items():
        kept = []
        for event in one["events"]:
            entry = next((entry for entry in allowed if _matches(entry, path, name, event)), None)
            if entry is None:
                kept.append(event)
                continue
            left_out.append(
                AllowedEvent(
                    path=path,
                    series=name,
                    kind=event["kind"],
                    step=math.nan if event["start"] is None else float(event["start"]),
                    line=event["line"],
                    reason=entry.reason,
                )
            )
        series[name] = {**one, "events": kept}
    return {**document, "series": series}, tuple(left_out)


def applies(pattern: str, path: str) -> bool:
    """Say whether a pattern of a policy covers a path, which it may match from any folder on."""
    return pattern == ANY or fnmatchcase(path, pattern) or fnmatchcase(path, f"*/{pattern}")


def _matches(entry: Allow, path: str, series: str, event: Document) -> bool:
    if event["start"] is None:
        return False
    return (
        entry.kind in (ANY, event["kind"])
        and entry.series in (ANY, series)
        and entry.steps[0] <= event["start"] <= entry.steps[1]
        and applies(entry.paths, path)
    )


JUDGEABLE = "judgeable"
"""Name of the gate that every input has: that something can be said of it."""


def gates_for(gates: Sequence[PolicyGate], family: Family, path: str) -> Iterator[PolicyGate]:
    """Yield the gates of a policy that apply to an input."""
    for gate in gates:
        if METRICS[gate.metric].family is family and applies(gate.paths, path):
            yield gate


def judge_gate(gate: PolicyGate, document: Document, baseline: Document | None) -> GateOutcome:
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
        severity=GateSeverity.ERROR,
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
    counted = [one.verdict for one in outcomes if strict or one.severity is GateSeverity.ERROR]
    return combine(counted) if counted else Verdict.PASS


def _limit(gate: PolicyGate, before: Reading | None) -> float | None:
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
