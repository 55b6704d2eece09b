"""What a scheduler or a CI job may conclude from the report on a log."""

from collections import Counter
from dataclasses import dataclass, field

from mhcdiag.results.spikes import Event, JudgedLog, Kind, LogResult
from mhcdiag.results.verdict import Limit, Verdict

DEFAULT_FAIL_ON = frozenset({Kind.NAN, Kind.DIVERGENCE, Kind.LOSS_SCALE})
"""A shift is a warning: data phases shift levels too; blips and recovered spikes are part of most runs."""

LEAST_POINTS = 10
"""Losses without which nothing was checked."""

MOST_UNREADABLE = 0.2
"""Share of the lines with the key of the loss that may give neither number nor NaN."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SpikeGate:
    """Limits of the gate."""

    fail_on: frozenset[Kind] = field(default=DEFAULT_FAIL_ON)
    """Kinds of events of which one fails the log."""
    max_spikes: int | None = None
    """Most events of kind `spike` in the loss, over all runs."""
    max_spike_score: float | None = None
    """Largest share of flagged points of the loss (OLMo-core's score), between 0 and 1."""


def trips(event: Event, gate: SpikeGate) -> bool:
    """Say whether this event alone fails a log.

    A divergence counts while it lasts; one that a resume ended does not.

    Arguments: event: as it stands; gate: the limits.
    """
    return event.kind in gate.fail_on and not (event.kind is Kind.DIVERGENCE and event.recovered is not None)


def tripping_event(result: LogResult, gate: SpikeGate) -> tuple[str, Event] | None:
    """Return the first event that fails the log, with the name of its series.

    Arguments: result: the report on one log; gate: the limits. Returns: None where no single event fails it, as
    for a spike score.
    """
    found = [
        (event.line, name, event)
        for name, series in result.series.items()
        for event in series.events
        if trips(event, gate)
    ]
    if gate.max_spikes is not None and "loss" in result.series:
        spikes = [event for event in result.series["loss"].events if event.kind is Kind.SPIKE]
        found += [(event.line, "loss", event) for event in spikes[gate.max_spikes : gate.max_spikes + 1]]
    if not found:
        return None
    _, name, event = min(found, key=lambda one: one[0])
    return name, event


def judge(result: LogResult, gate: SpikeGate) -> JudgedLog:
    """Hold a report against the limits.

    A failed limit wins over too little data: what was found is certain.

    Arguments: result: the report on one log; gate: the limits. Returns: the verdict, with every limit.
    """
    limits = [*_kind_limits(result, gate), *_count_limits(result, gate)]
    failed = [limit for limit in limits if not limit.passed]
    if failed:
        reason = "; ".join(f"{limit.metric} is {limit.value:g}, above {limit.limit:g}" for limit in failed)
        return JudgedLog(result=result, verdict=Verdict.FAIL, limits=tuple(limits), reason=reason)
    reason = _why_unjudged(result, gate)
    verdict = Verdict.UNJUDGED if reason else Verdict.PASS
    return JudgedLog(result=result, verdict=verdict, limits=tuple(limits), reason=reason)


def _kind_limits(result: LogResult, gate: SpikeGate) -> list[Limit]:
    found: Counter[Kind] = Counter()
    for series in result.series.values():
        found.update(event.kind for event in series.events if trips(event, gate))
    return [
        Limit(metric=f"events.{kind}", value=float(found[kind]), limit=0.0, passed=found[kind] == 0)
        for kind in Kind
        if kind in gate.fail_on
    ]


def _count_limits(result: LogResult, gate: SpikeGate) -> list[Limit]:
    loss = result.series.get("loss")
    limits: list[Limit] = []
    if loss is None:
        return limits
    if gate.max_spikes is not None:
        count = sum(event.kind is Kind.SPIKE for event in loss.events)
        metric = "series.loss.events.spike"
        passed = count <= gate.max_spikes
        limits.append(Limit(metric=metric, value=float(count), limit=float(gate.max_spikes), passed=passed))
    if gate.max_spike_score is not None and loss.spike_score.olmo_core == loss.spike_score.olmo_core:
        score = loss.spike_score.olmo_core
        metric = "series.loss.spike_score.olmo_core"
        passed = score <= gate.max_spike_score
        limits.append(Limit(metric=metric, value=score, limit=gate.max_spike_score, passed=passed))
    return limits


def mostly_unreadable(result: LogResult) -> bool:
    """Say whether so many loss lines give neither a number nor NaN that nothing can be said of the log."""
    return result.unreadable_lines > MOST_UNREADABLE * result.loss_lines


def _why_unjudged(result: LogResult, gate: SpikeGate) -> str:
    """Return why a log without a failed limit cannot be called clean; empty if it can."""
    judged = result.series.get("loss") or next(iter(result.series.values()), None)
    points = 0 if judged is None else judged.points
    if points < LEAST_POINTS:
        return f"{points} loss points are too few to judge: at least {LEAST_POINTS} are needed"
    if mostly_unreadable(result):
        share = 100 * result.unreadable_lines / result.loss_lines
        return f"{share:.0f} % of the lines with a loss give no number: is the format {result.format} right?"
    if gate.max_spike_score is not None and "loss" in result.series:
        score = result.series["loss"].spike_score.olmo_core
        if score != score:  # noqa: PLR0124 - NaN
            return "no run is long enough for a spike score (128 points)"
    return ""
