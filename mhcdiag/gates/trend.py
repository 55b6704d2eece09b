"""The gates of `mhcdiag trend`: how high, how fast, and how soon."""

import math
from dataclasses import dataclass

from mhcdiag.results.gain import Direction
from mhcdiag.results.numbers import within
from mhcdiag.results.trend import DirectionTrend, JudgedTrend, TrendResult
from mhcdiag.results.verdict import Limit, Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class TrendGate:
    """Limits; None judges nothing."""

    max_gain: float | None = 1000.0
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
    limits = [limit for way, trend in judged for limit in _limits(way, trend, gate)]
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


def _limits(direction: Direction, trend: DirectionTrend, gate: TrendGate) -> list[Limit]:
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
        crossing = next(each for each in trend.crossings if each.name == "1000")
        step = crossing.passed if crossing.passed is not None else crossing.expected
        value = math.inf if step is None else step
        passed = value >= gate.no_crossing_before and math.isfinite(trend.growth.rate)
        limits.append(Limit(metric=f"{direction}.crossing", value=value, limit=gate.no_crossing_before, passed=passed))
    return limits
