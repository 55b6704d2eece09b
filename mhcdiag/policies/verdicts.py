"""The commands' own gates: gain, health, spikes, trend and toy, each on its record.

Every number is held against its limit by `Limit.on`, and every verdict follows from its limits by `judged`, so that NaN
fails and a failure wins everywhere alike. A policy says the same in more words (`policies.gates`); this module stays
light, because the command line imports it for its defaults before it knows what to do.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from mhcdiag.results.bands import DEFAULT_MAX_GAIN, EXPLODED_GAIN
from mhcdiag.results.evidence import beside_weights, evidence_of, is_enough, lacking_evidence, weakest
from mhcdiag.results.gain import Definition, Direction, GainResult
from mhcdiag.results.health import SEVERITIES, HealthResult, Severity
from mhcdiag.results.judged import JudgedGain, JudgedHealth
from mhcdiag.results.spikes import Event, EventKind, JudgedLog, LogResult
from mhcdiag.results.toy import JudgedToys, ToyRun
from mhcdiag.results.trend import DirectionTrend, JudgedTrend, TrendResult, peak_limit, qualification_of_trend
from mhcdiag.results.verdict import GainEvidence, GateOn, Limit, Relation, Verdict, judged
from mhcdiag.results.weights import WeightsResult


def judge_gain(
    result: GainResult,
    *,
    max_gain: float = DEFAULT_MAX_GAIN,
    gate_on: GateOn = GateOn.WORST,
    strict: bool = False,
    require: GainEvidence | None = None,
    weights: WeightsResult | None = None,
) -> JudgedGain:
    """Hold a measurement against a limit.

    NaN or infinity in a mapping, or in any weight that was scanned, fails, whatever the limit. Under `strict`, anything
    skipped, assumed or merely sampled leaves an otherwise passing input unjudged, and so does less evidence than is
    required; a failed gate still wins. Where streams do not persist from site to site, there is no composite to judge.
    """
    result = beside_weights(result, weights)
    # Formal products of mappings that the model never multiplies say nothing: neither pass nor failure.
    directions = Direction if result.composes else ()
    limits = [limit for direction in directions for limit in _gain_limits(result, direction, max_gain, gate_on)]
    if result.nonfinite:
        limits.insert(0, Limit.on("nonfinite", float(len(result.nonfinite)), 0.0))
    if weights is not None and weights.nonfinite:
        limits.append(Limit.on("weights.nonfinite", float(len(weights.nonfinite)), 0.0))
    doubt = _doubt_of_gain(result, limits, strict=strict, require=require)
    verdict = judged(limits, doubt=doubt)
    reason = "" if verdict is Verdict.PASS else doubt
    if verdict is Verdict.FAIL:
        reason = f"{next(limit.metric for limit in limits if not limit.passed)} is above its limit"
        if result.nonfinite:
            reason = f"site {result.nonfinite[0].site}: {result.nonfinite[0].found}"
        elif weights is not None and weights.nonfinite:
            reason = weights.nonfinite[0].what
    return JudgedGain(
        result=result,
        verdict=verdict,
        limits=tuple(limits),
        reason=reason,
        evidence=weakest(limit.evidence for limit in limits),
        weights=weights,
    )


def _gain_limits(result: GainResult, direction: Direction, max_gain: float, gate_on: GateOn) -> Iterator[Limit]:
    bound = result.bound[direction].worst
    evidence = evidence_of(result, max_gain, bound)
    limit = None
    if gate_on is GateOn.WORST:
        limit = Limit.on(f"worst.{direction}.norm", result.worst[direction, Definition.NORM].value, max_gain)
    elif bound is not None:
        limit = Limit.on(f"bound.{direction}.worst", bound, max_gain)
    if limit is not None:
        yield replace(limit, evidence=evidence, bound=bound)


def _doubt_of_gain(result: GainResult, limits: Sequence[Limit], *, strict: bool, require: GainEvidence | None) -> str:
    """Why a measurement without a failed limit is no pass; empty where it is."""
    if not result.composes:
        return "the streams end within each layer (composes: false): there is no composite"
    if not limits:
        return f"there is no bound to judge: {result.bound[Direction.FORWARD].why}"
    if strict and (result.assumed or result.skipped):
        return f"--strict, and {len(result.assumed) + len(result.skipped)} thing(s) were assumed or skipped"
    if is_enough(weakest(limit.evidence for limit in limits), require=require, strict=strict):
        return ""
    return lacking_evidence(result, limits, require=require, strict=strict)


DEFAULT_FAIL_ON = frozenset({EventKind.NAN, EventKind.DIVERGENCE, EventKind.LOSS_SCALE})
"""A shift is a warning: data phases shift levels too; blips and recovered spikes are part of most runs."""

LEAST_POINTS = 10
"""Losses without which nothing was checked."""

MOST_UNREADABLE = 0.2
"""Share of the lines with the key of the loss that may give neither number nor NaN, or be left out."""


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
    """
    return event.kind in gate.fail_on and not (event.kind is EventKind.DIVERGENCE and event.recovered is not None)


def tripping_event(result: LogResult, gate: SpikeGate) -> tuple[str, Event] | None:
    """Return the first event that fails the log, with the name of its series.

    None where no single event fails it: a spike score belongs to the whole series.
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
    """
    limits = (*_kind_limits(result, gate), *_count_limits(result, gate))
    doubt = _doubt_of_log(result, gate)
    verdict = judged(limits, doubt=doubt)
    reason = "" if verdict is Verdict.PASS else doubt
    if verdict is Verdict.FAIL:
        failed = [limit for limit in limits if not limit.passed]
        reason = "; ".join(f"{limit.metric} is {limit.value:g}, above {limit.limit:g}" for limit in failed)
    return JudgedLog(result=result, verdict=verdict, limits=limits, reason=reason)


def _kind_limits(result: LogResult, gate: SpikeGate) -> Iterator[Limit]:
    found: Counter[EventKind] = Counter()
    for series in result.series.values():
        found.update(event.kind for event in series.events if trips(event, gate))
    for kind in EventKind:
        if kind in gate.fail_on:
            yield Limit.on(f"events.{kind}", float(found[kind]), 0.0)


def _count_limits(result: LogResult, gate: SpikeGate) -> Iterator[Limit]:
    loss = result.series.get("loss")
    if loss is None:
        return
    if gate.max_spikes is not None:
        count = sum(event.kind is EventKind.SPIKE for event in loss.events)
        yield Limit.on("series.loss.events.spike", float(count), float(gate.max_spikes))
    score = loss.spike_score.olmo_core
    # NaN says that no window was full: there is no share to judge, and `_doubt_of_log` says so.
    if gate.max_spike_score is not None and not math.isnan(score):
        yield Limit.on("series.loss.spike_score.olmo_core", score, gate.max_spike_score)


def mostly_unreadable(result: LogResult) -> bool:
    """Say whether so many loss lines give no point that nothing can be said of the log."""
    return result.unreadable_lines + result.ignored_lines > MOST_UNREADABLE * result.loss_lines


def _doubt_of_log(result: LogResult, gate: SpikeGate) -> str:
    """Return why a log without a failed limit cannot be called clean; empty if it can."""
    judged = result.series.get("loss") or next(iter(result.series.values()), None)
    points = 0 if judged is None else judged.points
    if points < LEAST_POINTS:
        return f"{points} loss points are too few to judge: at least {LEAST_POINTS} are needed"
    if mostly_unreadable(result):
        share = 100 * (result.unreadable_lines + result.ignored_lines) / result.loss_lines
        what = "point" if result.ignored_lines else "number"
        return f"{share:.0f} % of the lines with a loss give no {what}: is the format {result.format} right?"
    if result.doubt:
        return f"{result.doubt}: name what to judge with --loss-key and --step-key"
    loss = result.series.get("loss")
    if gate.max_spike_score is not None and loss is not None and math.isnan(loss.spike_score.olmo_core):
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
    """Whether checkpoints that could not be measured, or were merely sampled, leave it unjudged."""


def judge_trend(result: TrendResult, gate: TrendGate) -> JudgedTrend:
    """Hold a trend against the limits; a gain or rate that is not finite fails.

    A direction that a log does not carry is not judged, unless it carries neither.
    """
    carried = [(way, trend) for way, trend in result.trends.items() if not _missing(result, way)]
    limits = tuple(limit for way, trend in carried for limit in _trend_limits(result, way, trend, gate))
    doubt = f"--strict, and {len(result.skipped)} checkpoint(s) were skipped" if gate.strict and result.skipped else ""
    if gate.strict and not doubt and (sampled := qualification_of_trend(result, limits)):
        doubt = f"--strict, and this is sampled: {sampled}"
    verdict = judged(limits, doubt=doubt)
    reason = "" if verdict is Verdict.PASS else doubt
    if verdict is Verdict.FAIL:
        reason = f"{next(limit.metric for limit in limits if not limit.passed)} is outside its limit"
    return JudgedTrend(result=result, verdict=verdict, limits=limits, reason=reason)


def _missing(result: TrendResult, direction: Direction) -> bool:
    """Whether no point has a number for this direction while the other one has."""

    def empty(way: Direction) -> bool:
        return all(isinstance(point.gain[way], float) and math.isnan(float(point.gain[way])) for point in result.points)

    return empty(direction) and not all(empty(way) for way in Direction)


def _trend_limits(result: TrendResult, direction: Direction, trend: DirectionTrend, gate: TrendGate) -> Iterator[Limit]:
    if gate.max_gain is not None:
        yield peak_limit(result, direction, Limit.on(f"{direction}.peak", trend.peak, gate.max_gain))
    if gate.max_doubling_rate is not None:
        rate = trend.growth.doublings_per_1000()
        yield Limit.on(f"{direction}.doublings_per_1000_steps", rate, gate.max_doubling_rate)
    if gate.no_crossing_before is not None:
        yield _crossing_limit(direction, trend, gate.no_crossing_before)


def _crossing_limit(direction: Direction, trend: DirectionTrend, first_step: float) -> Limit:
    crossing = next(each for each in trend.crossings if each.limit == EXPLODED_GAIN)
    step = crossing.passed if crossing.passed is not None else crossing.expected
    reached = math.inf if step is None else step
    limit = Limit.on(f"{direction}.crossing", reached, first_step, relation=Relation.AT_LEAST)
    # A growth that could not be fitted projects no crossing; "never" would pass every limit.
    return limit if math.isfinite(trend.growth.rate) else replace(limit, passed=False)


def judge_toys(runs: Sequence[ToyRun], *, max_gain: float | None) -> JudgedToys:
    """Hold the largest measured gain of every run against a limit; a run that ended in NaN fails.

    Parameters
    ----------
    max_gain
        The limit; None judges nothing, and passes.
    """
    if max_gain is None:
        return JudgedToys(verdict=Verdict.PASS, limits=())
    gains = (
        Limit.on(f"{run.topology}.gain_{direction}", run.largest_gain(direction), max_gain)
        for run in runs
        for direction in ("forward", "backward")
    )
    # A step has no limit: that there is one fails the run, were it step 0.
    broken = (
        Limit(metric=f"{run.topology}.nan_step", value=float(run.nan_step), limit=0.0, passed=False)
        for run in runs
        if run.nan_step is not None
    )
    limits = (*gains, *broken)
    return JudgedToys(verdict=judged(limits, doubt=""), limits=limits)


def judge_health(
    result: HealthResult,
    *,
    fail_on: Severity = Severity.FAIL,
    strict: bool = False,
    weights: WeightsResult | None = None,
) -> JudgedHealth:
    """Fail on any finding of this severity or a worse one, those of a scan of all weights among them.

    Under `strict`, anything assumed, skipped or not checkable and a gain that is merely sampled leave an otherwise
    passing input unjudged.
    """
    failing = SEVERITIES[SEVERITIES.index(fail_on) :]
    findings = [finding for check in result.checks for finding in check.findings if finding.severity in failing]
    missing = ["assumptions"] if result.assumed else []
    missing += [one.name for one in result.checks if one.not_checkable or one.skipped]
    if result.gain is not None and not is_enough(result.gain.evidence, require=None, strict=strict):
        missing.insert(0, "the gain of real tokens")
    doubt = f"--strict, and not checked: {', '.join(missing)}" if strict and missing else ""
    found = [(finding.severity, finding.what) for finding in findings]
    if weights is not None:
        found += [(finding.severity, finding.what) for finding in weights.findings if finding.severity in failing]
    verdict = judged([Limit.on("findings", float(len(found)), 0.0)], doubt=doubt)
    reason = "" if verdict is Verdict.PASS else doubt
    if verdict is Verdict.FAIL:
        _, reason = max(found, key=lambda finding: SEVERITIES.index(finding[0]))
    return JudgedHealth(result=result, verdict=verdict, reason=reason, weights=weights)


def doubts(result: GainResult | LogResult, *, judged: bool, strict: bool) -> list[str]:
    """Return why an input of a check cannot pass, whatever its gates say.

    Parameters
    ----------
    judged
        Whether any gate of the policy applies to it.
    strict
        Whether what was assumed or skipped counts.
    """
    found = []
    if not judged:
        word = "checkpoints" if isinstance(result, GainResult) else "logs"
        found.append(f"no gate of the policy applies to it: add one for {word}")
    if isinstance(result, LogResult):
        reason = judge(result, SpikeGate(fail_on=frozenset())).reason
        found += [reason] if reason else []
    elif strict and (result.assumed or result.skipped):
        count = len(result.assumed) + len(result.skipped)
        found.append(f"--strict, and {count} thing(s) were assumed or skipped")
    return found
