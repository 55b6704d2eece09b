"""The gates of a policy on the record of one input. They fail closed: what is missing or NaN never passes."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from mhcdiag.metrics import METRICS, Examined, Found, Metric, Question, Record
from mhcdiag.policies.policy import ANY, Allow, PolicyGate
from mhcdiag.results.bands import EXPLODED_GAIN
from mhcdiag.results.check import AllowedEvent, Family, GateOutcome, GateSeverity
from mhcdiag.results.evidence import (
    REAL_INPUTS,
    beside_weights,
    evidence_of,
    is_enough,
    lacking_evidence,
    qualification,
    weakest,
)
from mhcdiag.results.gain import GainResult
from mhcdiag.results.numbers import Huge, Number, number, text
from mhcdiag.results.spikes import Event, LogResult
from mhcdiag.results.verdict import GainEvidence, Limit, Relation, Verdict, combine, holds
from mhcdiag.results.wording import badness

JUDGEABLE = "judgeable"
"""Name of the gate that every input has: that something can be said of it."""

EVIDENCE = "evidence"
"""Name of the gate that every checkpoint has: that its other gates passed on enough."""

NOTHING_FAILED = "health.failed"
"""The metric that speaks of the gain among others."""


def applies(pattern: str, path: str) -> bool:
    """Say whether a pattern of a policy covers a path, which it may match from any folder on."""
    return pattern == ANY or fnmatchcase(path, pattern) or fnmatchcase(path, f"*/{pattern}")


def gates_for(gates: Sequence[PolicyGate], family: Family, path: str) -> Iterator[PolicyGate]:
    """Yield the gates of a policy that apply to an input."""
    for gate in gates:
        if METRICS[gate.metric].family is family and applies(gate.paths, path):
            yield gate


# Known events


@dataclass(frozen=True, kw_only=True, slots=True)
class Screened:
    """A log without its known events."""

    log: LogResult
    """What is left to judge."""
    allowed: tuple[AllowedEvent, ...]
    """The known events, which every report shows."""


def without_allowed(log: LogResult, allowed: Sequence[Allow]) -> Screened:
    """Return a log without the events that a policy's list allows, and those events."""
    left_out: list[AllowedEvent] = []
    series = {}
    for name, one in log.series.items():
        kept = []
        for event in one.events:
            entry = next((entry for entry in allowed if _matches(entry, log.path, name, event)), None)
            if entry is None:
                kept.append(event)
                continue
            known = AllowedEvent(
                path=log.path, series=name, kind=str(event.kind), step=event.start, line=event.line, reason=entry.reason
            )
            left_out.append(known)
        series[name] = replace(one, events=tuple(kept))
    return Screened(log=replace(log, series=series), allowed=tuple(left_out))


def _matches(entry: Allow, path: str, series: str, event: Event) -> bool:
    # Infinity too is a step that nobody knows: an entry up to infinity must not allow it.
    return (
        math.isfinite(event.start)
        and entry.kind in (ANY, event.kind)
        and entry.series in (ANY, series)
        and entry.steps[0] <= event.start <= entry.steps[1]
        and applies(entry.paths, path)
    )


# Judging


def judge_gate(gate: PolicyGate, record: Record, baseline: Record | None) -> GateOutcome:
    """Hold one number of a record against one limit.

    NaN fails, whatever the limit. A number that is missing, here or in the baseline of a relative limit, could not be
    judged.

    Parameters
    ----------
    gate
        Of the policy.
    record
        Of the input, without allowed events.
    baseline
        The same input before.
    """
    metric = METRICS[gate.metric]
    question = Question(series=gate.series, relation=gate.relation, baseline=baseline)
    now = metric.read(record, question)
    before = None
    if gate.max_ratio is not None:
        before = Found(value=None, missing="not in the baseline")
        if baseline is not None:
            before = _before(metric, record, baseline, question)
    limit = _limit(gate, before)
    verdict, finding = _verdict(now, before, limit, gate.relation)
    evidence, bound = _evidence(gate, record, now)
    return GateOutcome(
        gate=gate.name,
        metric=gate.metric,
        series=gate.series or metric.series,
        path=record.path,
        verdict=verdict,
        severity=gate.severity,
        value=now.value,
        relation=gate.relation,
        limit=limit,
        baseline=None if before is None else before.value,
        finding=finding,
        reason=gate.reason,
        place=now.place,
        evidence=evidence,
        bound=bound,
    )


def _evidence(gate: PolicyGate, record: Record, now: Found) -> tuple[GainEvidence | None, Number | None]:
    """What the number rests on, and its bound; neither for what is no number of mappings."""
    metric = METRICS[gate.metric]
    if not isinstance(record, Examined) or now.value is None:
        return None, None
    if gate.metric == NOTHING_FAILED and record.health is not None and record.health.gain is not None:
        # That no check failed is also said of the gain, by the limit of its check.
        bounds = [bound.worst for bound in record.gain.bound.values()]
        known = [bound for bound in bounds if bound is not None]
        return record.health.gain.evidence, max(known, key=badness) if len(known) == len(bounds) else None
    if metric.bound is None:
        return None, None
    # No bound keeps a number above a lower limit, nor its ratio to a baseline, which has inputs of its own.
    result = beside_weights(record.gain, record.weights)
    bound = metric.bound(result) if gate.max is not None else None
    return evidence_of(result, gate.max, bound), bound


def judge_evidence(
    result: GainResult, outcomes: Sequence[GateOutcome], *, require: GainEvidence | None, strict: bool
) -> GateOutcome | None:
    """Say that gates of a checkpoint passed on less evidence than is wanted; None where all is well.

    Parameters
    ----------
    outcomes
        Of that checkpoint.
    require
        What a pass must rest on: less leaves the checkpoint unjudged. None: what is sampled is a warning.
    strict
        Whether warnings count.
    """
    wanted = GainEvidence.MEASURED if require is None else require
    lacking = [
        one
        for one in outcomes
        if one.verdict is Verdict.PASS and not is_enough(one.evidence, require=wanted, strict=strict)
    ]
    if not lacking:
        return None
    decides = any(
        one.severity is GateSeverity.ERROR and not is_enough(one.evidence, require=require, strict=False)
        for one in lacking
    )
    limits = [_judged_limit(one) for one in lacking]
    why = next((_without_bound(one) for one in lacking if one.bound is None), "")
    words = qualification(result, limits, unbounded=why)
    if require is not None:
        words = lacking_evidence(result, limits, require=require, strict=strict, unbounded=why)
    return replace(
        unjudged(result.path, Family.CHECKPOINT, words),
        gate=EVIDENCE,
        metric=f"gain.{EVIDENCE}",
        severity=GateSeverity.ERROR if decides else GateSeverity.WARNING,
        evidence=weakest(one.evidence for one in lacking),
    )


def _judged_limit(one: GateOutcome) -> Limit:
    assert one.value is not None
    limit = math.nan if one.limit is None else EXPLODED_GAIN if one.metric == NOTHING_FAILED else one.limit
    return Limit(metric=one.metric, value=one.value, limit=limit, passed=True, evidence=one.evidence, bound=one.bound)


def _without_bound(one: GateOutcome) -> str:
    """Why a gate without a bound has none; empty where the record says it."""
    if one.baseline is not None:
        return "a ratio to a baseline has none"
    if one.relation is Relation.AT_LEAST:
        return "a lower limit has none"
    return "nothing is proved of what a finite iteration leaves" if one.metric.startswith("gain.sinkhorn.") else ""


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


def _before(metric: Metric, record: Record, baseline: Record, question: Question) -> Found:
    """The baseline's number, if it is of the same kind: a gain of other inputs is no measure of this one."""
    if metric.bound is not None and isinstance(record, Examined) and isinstance(baseline, Examined):
        then, now = baseline.gain.inputs, record.gain.inputs
        if then != now and not {then, now} <= set(REAL_INPUTS):
            return Found(value=None, missing=f"the baseline was measured on {then} inputs, and this on {now} ones")
    return metric.read(baseline, question)


def _limit(gate: PolicyGate, before: Found | None) -> float | None:
    if before is None:
        return gate.max if gate.max is not None else gate.min
    if before.value is None or isinstance(before.value, Huge) or gate.max_ratio is None:
        return None
    limit = gate.max_ratio * before.value
    return limit if math.isfinite(limit) else None  # infinity would let everything pass


def _verdict(now: Found, before: Found | None, limit: float | None, relation: Relation) -> tuple[Verdict, str]:
    if now.value is None:
        return Verdict.UNJUDGED, now.missing or "no number was measured"
    if _is_nan(now.value):
        return Verdict.FAIL, "NaN is within no limit"
    if limit is None:
        why = "" if before is None else before.missing
        if before is not None and before.value is not None:
            why = f"the baseline's number, {text(before.value)}, is beyond comparison"
        return Verdict.UNJUDGED, f"no limit: {why}"
    if holds(now.value, relation, limit):
        return Verdict.PASS, ""
    return Verdict.FAIL, "above its limit" if relation is Relation.AT_MOST else "below its limit"


def _is_nan(value: Number) -> bool:
    return number(value) == "nan"
