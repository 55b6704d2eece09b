"""The gate of `mhcdiag gain`: how much amplification is too much."""

from enum import StrEnum

from mhcdiag.results.gain import Definition, Direction, GainResult
from mhcdiag.results.judged import JudgedGain
from mhcdiag.results.numbers import within
from mhcdiag.results.verdict import Limit, Verdict

DEFAULT_MAX_GAIN = 1000.0
"""The level at which arXiv 2512.24880 calls hyper-connections exploded."""


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
