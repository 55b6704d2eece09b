"""The gate of `mhcdiag gain`: how much amplification is too much."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from mhcdiag.results.bands import EXPLODED_GAIN
from mhcdiag.results.gain import Definition, Direction, GainResult
from mhcdiag.results.health import SEVERITIES, HealthResult, Severity
from mhcdiag.results.judged import JudgedGain, JudgedHealth
from mhcdiag.results.numbers import within
from mhcdiag.results.spikes import Event, EventKind, JudgedLog, LogResult
from mhcdiag.results.toy import JudgedToys, ToyRun
from mhcdiag.results.trend import DirectionTrend, JudgedTrend, TrendResult
from mhcdiag.results.verdict import Limit, Verdict

DEFAULT_MAX_GAIN = EXPLODED_GAIN


class GateOn(StrEnum):
    """Which number the gate looks at."""

    WORST = "worst"
    """The worst composite: token mean, definition `norm`, both directions."""
    BOUND = "bound"
    """What no input can exceed, definition `norm`, both directions."""


def judge_gain(
    result: GainResult,
    *,
    max_gain: float = DEFAULT_MAX_GAIN,
    gate_on: GateOn = GateOn.WORST,
    strict: bool = False,
) -> JudgedGain:
    """Hold a measurement against a limit.

    NaN or infinity in a mapping fails, whatever the limit. Under `strict`, anything skipped or assumed leaves an
    otherwise passing input unjudged; a failed gate still wins. Where streams do not persist from site to site, there is
    no composite to judge.
    """
    directions = Direction if result.composes else ()
    limits = tuple(limit for direction in directions for limit in _limits(result, direction, max_gain, gate_on))
    if result.nonfinite:
        broken = Limit(metric="nonfinite", value=float(len(result.nonfinite)), limit=0.0, passed=False)
        limits = (broken, *limits)
    failed = [limit for limit in limits if not limit.passed]
    if failed:
        verdict, reason = Verdict.FAIL, f"{failed[0].metric} is above its limit"
        if result.nonfinite:
            reason = f"site {result.nonfinite[0].site}: {result.nonfinite[0].found}"
    elif not result.composes:
        verdict, reason = Verdict.UNJUDGED, "the streams end within each layer (composes: false): there is no composite"
    elif not limits:
        verdict, reason = (
            Verdict.UNJUDGED,
            f"there is no bound to judge: {result.bound[Direction.FORWARD].why}",
        )
    elif strict and (result.assumed or result.skipped):
        count = len(result.assumed) + len(result.skipped)
        verdict, reason = Verdict.UNJUDGED, f"--strict, and {count} thing(s) were assumed or skipped"
    else:
        verdict, reason = Verdict.PASS, ""
    return JudgedGain(result=result, verdict=verdict, limits=limits, reason=reason)


def _limits(result: GainResult, direction: Direction, max_gain: float, gate_on: GateOn) -> list[Limit]:
    if gate_on is GateOn.WORST:
        value = result.worst[direction, Definition.NORM].value
        metric = f"worst.{direction}.norm"
    else:
        bound = result.bound[direction].worst
        if bound is None:
            return []
        value, metric = bound, f"bound.{direction}.worst"
    return [Limit(metric=metric, value=value, limit=max_gain, passed=within(value, max_gain))]


DEFAULT_FAIL_ON = frozenset({EventKind.NAN, EventKind.DIVERGENCE, EventKind.LOSS_SCALE})
"""A shift is a warning: data phases shift levels too; blips and recovered spikes are part of most runs."""

LEAST_POINTS = 10
"""Losses without which nothing was checked."""

MOST_UNREADABLE = 0.2
"""Share of the lines with the key of the loss that may give neither number nor NaN."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SpikeGate:
    """Limits of the gate."""

    fail_on: frozenset[EventKind] = field(default=DEFAULT_FAIL_ON)
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
    return event.kind in gate.fail_on and not (event.kind is EventKind.DIVERGENCE and event.recovered is not None)


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
        spikes = [event for event in result.series["loss"].events if event.kind is EventKind.SPIKE]
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
    found: Counter[EventKind] = Counter()
    for series in result.series.values():
        found.update(event.kind for event in series.events if trips(event, gate))
    return [
        Limit(metric=f"events.{kind}", value=float(found[kind]), limit=0.0, passed=found[kind] == 0)
        for kind in EventKind
        if kind in gate.fail_on
    ]


def _count_limits(result: LogResult, gate: SpikeGate) -> list[Limit]:
    loss = result.series.get("loss")
    limits: list[Limit] = []
    if loss is None:
        return limits
    if gate.max_spikes is not None:
        count = sum(event.kind is EventKind.SPIKE for event in loss.events)
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


@dataclass(frozen=True, kw_only=True, slots=True)
class TrendGate:
    """Limits; None judges nothing."""

    max_gain: float | None = DEFAULT_MAX_GAIN
    """Largest gain at any step, per direction."""
    max_doubling_rate: float | None = None
    """Most doublings in 1000 steps, per direction."""
    no_crossing_before: float | None = None
    """Smallest step at which the gain may pass 1000, measured or projected."""
    strict: bool = False
    """Whether checkpoints that could not be measured leave it unjudged."""


def judge_trend(result: TrendResult, gate: TrendGate) -> JudgedTrend:
    """Hold a trend against the limits; a gain or rate that is not finite fails.

    A direction that a log does not carry is not judged, unless it carries neither.
    """
    judged = [(way, trend) for way, trend in result.trends.items() if not _missing(result, way)]
    limits = [limit for way, trend in judged for limit in _growth_limits(way, trend, gate)]
    failed = [limit for limit in limits if not limit.passed]
    verdict, reason = Verdict.PASS, ""
    if failed:
        verdict, reason = Verdict.FAIL, f"{failed[0].metric} is outside its limit"
    elif gate.strict and result.skipped:
        verdict, reason = Verdict.UNJUDGED, f"--strict, and {len(result.skipped)} checkpoint(s) were skipped"
    return JudgedTrend(result=result, verdict=verdict, limits=tuple(limits), reason=reason)


def _missing(result: TrendResult, direction: Direction) -> bool:
    """Whether no point has a number for this direction while the other one has."""

    def empty(way: Direction) -> bool:
        return all(isinstance(point.gain[way], float) and math.isnan(float(point.gain[way])) for point in result.points)

    return empty(direction) and not all(empty(way) for way in Direction)


def _growth_limits(direction: Direction, trend: DirectionTrend, gate: TrendGate) -> list[Limit]:
    limits = []
    if gate.max_gain is not None:
        passed = within(trend.peak, gate.max_gain)
        limits.append(Limit(metric=f"{direction}.peak", value=trend.peak, limit=gate.max_gain, passed=passed))
    if gate.max_doubling_rate is not None:
        rate = trend.growth.doublings_per_1000()
        passed = rate <= gate.max_doubling_rate
        metric = f"{direction}.doublings_per_1000_steps"
        limits.append(Limit(metric=metric, value=rate, limit=gate.max_doubling_rate, passed=passed))
    if gate.no_crossing_before is not None:
        crossing = next(each for each in trend.crossings if each.limit == EXPLODED_GAIN)
        step = crossing.passed if crossing.passed is not None else crossing.expected
        value = math.inf if step is None else step
        passed = value >= gate.no_crossing_before and math.isfinite(trend.growth.rate)
        limits.append(Limit(metric=f"{direction}.crossing", value=value, limit=gate.no_crossing_before, passed=passed))
    return limits


def judge_toys(runs: Sequence[ToyRun], *, max_gain: float | None) -> JudgedToys:
    """Hold the largest measured gain of every run against a limit; a run that ended in NaN fails.

    Arguments: max_gain: the limit; None judges nothing, and passes.
    """
    if max_gain is None:
        return JudgedToys(verdict=Verdict.PASS, limits=())
    limits = [
        Limit(
            metric=f"{run.topology}.gain_{direction}",
            value=run.largest_gain(direction),
            limit=max_gain,
            passed=within(run.largest_gain(direction), max_gain),
        )
        for run in runs
        for direction in ("forward", "backward")
    ]
    limits += [
        Limit(metric=f"{run.topology}.nan_step", value=float(run.nan_step), limit=0.0, passed=False)
        for run in runs
        if run.nan_step is not None
    ]
    passed = all(limit.passed for limit in limits)
    return JudgedToys(verdict=Verdict.PASS if passed else Verdict.FAIL, limits=tuple(limits))


def judge_health(result: HealthResult, *, fail_on: Severity = Severity.FAIL, strict: bool = False) -> JudgedHealth:
    """Fail on any finding of this severity or a worse one.

    Under `strict`, anything assumed and any check that could not be made leaves an otherwise passing input unjudged.
    """
    worst = result.worst()
    skipped = [check.name for check in result.checks if check.not_checkable]
    if worst is not None and SEVERITIES.index(worst) >= SEVERITIES.index(fail_on):
        first = next(f for check in result.checks for f in check.findings if f.severity is worst)
        return JudgedHealth(result=result, verdict=Verdict.FAIL, reason=first.what)
    if strict and (result.assumed or skipped):
        what = ", ".join([*(["assumptions"] if result.assumed else []), *skipped])
        return JudgedHealth(result=result, verdict=Verdict.UNJUDGED, reason=f"--strict, and not checked: {what}")
    return JudgedHealth(result=result, verdict=Verdict.PASS, reason="")
