"""The gates of a policy on the record of one input. They fail closed: what is missing or NaN never passes."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from mhcdiag.metrics import METRICS, Found, Question, Record
from mhcdiag.policies.policy import ANY, Allow, PolicyGate
from mhcdiag.results.check import AllowedEvent, Family, GateOutcome, GateSeverity
from mhcdiag.results.numbers import Huge, Number, number, text
from mhcdiag.results.spikes import Event, LogResult
from mhcdiag.results.verdict import Relation, Verdict, combine, holds

JUDGEABLE = "judgeable"
"""Name of the gate that every input has: that something can be said of it."""


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
            before = metric.read(baseline, question)
    limit = _limit(gate, before)
    verdict, finding = _verdict(now, before, limit, gate.relation)
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
