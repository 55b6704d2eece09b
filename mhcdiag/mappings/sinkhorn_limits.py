"""What the finite Sinkhorn-Knopp iteration guarantees for any logits, and for which of them float32 holds it.

Both follow from the rule alone: where it starts, how eps guards a denominator, and whether a shift or a cut-off keeps
the exponential within range.
"""

from math import exp, inf, log

from mhcdiag.kernels.sinkhorn.interface import Guard, SinkhornRule, Start

FLOAT32_MAX = 3.4028234663852886e38
"""Largest float32: the arithmetic of the implementations' mixers."""
FLOAT32_TINY = 1.401298464324817e-45
"""Smallest positive float32; what is below it is zero."""
LARGEST_EXPONENT = log(FLOAT32_MAX)
"""88.7: the exponential of more is infinity in float32."""
SAFE_WITHOUT_EPS = 20.0
"""Logits within plus and minus this leave every sum positive in float32 without any eps. The scaling to row and column
sums of 1 makes no entry smaller than the square of the least ratio of two entries over n, exp(-80) / n = 1e-35 / n."""

FloatRange = tuple[float, float]
"""Smallest and largest."""


def finite_within(rule: SinkhornRule, streams: int) -> FloatRange:
    """Logits within which float32 gives finite matrices, whatever they are otherwise.

    Parameters
    ----------
    streams
        Number n of rows and columns.
    """
    low, high = -FLOAT32_MAX / 2, FLOAT32_MAX / 2  # the difference of two of them is finite, too
    if rule.start is Start.EXP and not rule.shift and rule.limit > LARGEST_EXPONENT - log(streams):
        high = LARGEST_EXPONENT - log(streams)  # a sum of n of them is finite, too
    # Sums of zero: added or as a floor, an eps that is zero in float32 leaves 0 / 0.
    if rule.guard is not Guard.SKIP and rule.eps < FLOAT32_TINY:
        low, high = -SAFE_WITHOUT_EPS, min(high, SAFE_WITHOUT_EPS)
    return low, high


def least_sum(rule: SinkhornRule, streams: int) -> float:
    """How small, with 1 as the largest, a sum can be that the last step but one was to make 1.

    1 where it always does. Where eps is not negligible against a sum, the sum stays below 1: of a line whose logits are
    all far below the others' nothing at all may be left.

    Returns
    -------
    float
        A lower bound on the ratio of the smallest to the largest sum, in exact arithmetic; 0 where there is none.
    """
    if rule.guard is Guard.SKIP and rule.eps > 1:
        return 0.0
    if rule.start is Start.SOFTMAX:
        if rule.iterations == 1:
            return 1.0  # the sums of the softmax, all of them 1 + n eps
        found = 1.0
    else:
        found = _normalised(_first_sum(rule, streams), rule)
    # An entry of the side in question is at most 1 (1 + eps after a softmax), so that the other side's sums, by which
    # it is divided in between, are at most n (1 + eps) + eps.
    divisor = max(streams * (1 + rule.eps) + rule.eps, 1.0)
    for _ in range(rule.iterations - 1):
        after = _normalised(found / divisor, rule)
        if after >= found:
            break
        found = after
    return found


def _first_sum(rule: SinkhornRule, streams: int) -> float:
    """Least sum of the exponentials along the axis that is normalised first."""
    if rule.shift == (rule.first,):
        return 1.0  # the largest logit of each line is 0
    spread = rule.limit if not rule.shift else 2 * rule.limit
    return streams * exp(-spread) if spread < inf else 0.0


def _normalised(total: float, rule: SinkhornRule) -> float:
    """What the guard makes of a sum of at least `total`: 1 at most."""
    if rule.guard is Guard.SKIP:
        return 1.0 if total > rule.eps else 0.0
    if rule.eps == 0:
        return 1.0 if total > 0 else 0.0
    return total / (total + rule.eps) if rule.guard is Guard.ADDED else min(1.0, total / rule.eps)
