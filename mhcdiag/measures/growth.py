"""Log-linear growth: rate, interval, projected crossings."""

import math
from collections.abc import Sequence

import numpy as np

from mhcdiag.results.numbers import Number, is_finite, log10_of, within
from mhcdiag.results.trend import Crossing, Growth

LEAST_POINTS = 4
"""Points that a fit takes at least, if there are as many."""
AUTOCORRELATED = 10
"""Points from which the correlation of neighbouring residuals is estimated: with fewer it is noise."""
STUDENT = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
"""97.5 % points of Student's t for 1 to 30 degrees of freedom."""
NORMAL = 1.96
"""The same for more degrees of freedom, where Student's t is some 4 % above the normal distribution, and nearer with
each."""


def fit_growth(steps: Sequence[float], gains: Sequence[Number], *, fit_from: float | None = None) -> Growth:
    """Fit ln(gain) = a + rate * step by least squares to the later half of a run.

    The early part of a run tells little of its end, so the fit takes the points of the later half of the steps, and at
    least the last four. The interval is Student's, widened by sqrt((1 + r) / (1 - r)) for residuals whose neighbours
    correlate by r.

    Parameters
    ----------
    steps
        In ascending order.
    gains
        One per step; those that are not positive and finite are left out.
    fit_from
        First step to take; None for the later half.

    Returns
    -------
    Growth
        Rate in units of ln(gain) per step, with the ends of its 95 % interval; NaN for fewer than two points.
    """
    known = [(step, log10_of(gain) * math.log(10)) for step, gain in zip(steps, gains, strict=True) if _usable(gain)]
    start = fit_from if fit_from is not None else (steps[0] + steps[-1]) / 2
    taken = [point for point in known if point[0] >= start]
    if fit_from is None and len(taken) < LEAST_POINTS:
        taken = known[-LEAST_POINTS:]
    if len(taken) < 2:
        return Growth(rate=math.nan, low=math.nan, high=math.nan, points=len(taken), first_step=start, last_step=start)
    x, y = np.array(taken).T
    rate, half_width = _slope(x, y)
    return Growth(
        rate=rate,
        low=rate - half_width,
        high=rate + half_width,
        points=len(taken),
        first_step=float(x[0]),
        last_step=float(x[-1]),
    )


def project(steps: Sequence[float], gains: Sequence[Number], growth: Growth, *, name: str, limit: float) -> Crossing:
    """When the fitted line crosses a limit, for the rate and for both ends of its interval.

    Parameters
    ----------
    steps, gains
        As for `fit_growth`.
    growth
        The line that was fitted to them.
    name
        What reports call the limit.
    limit
        The gain.
    """
    passed = next((step for step, gain in zip(steps, gains, strict=True) if not within(gain, limit)), None)
    if passed is not None or not math.isfinite(growth.rate):
        return Crossing(name=name, limit=limit, passed=passed, expected=None, earliest=None, latest=None)
    fitted = [
        (step, log10_of(gain) * math.log(10))
        for step, gain in zip(steps, gains, strict=True)
        if _usable(gain) and growth.first_step <= step <= growth.last_step
    ]
    middle_step, middle_log = (float(mean) for mean in np.mean(fitted, axis=0))

    # Through the middle of the points, where the line is known best: both ends of the interval turn around it.
    def at(rate: float) -> float | None:
        if not rate > 0:
            return None
        return max(steps[-1], middle_step + (math.log(limit) - middle_log) / rate)

    known = math.isfinite(growth.low)
    return Crossing(
        name=name,
        limit=limit,
        passed=None,
        expected=at(growth.rate),
        earliest=at(growth.high) if known else None,
        latest=at(growth.low) if known else None,
    )


def _usable(gain: Number) -> bool:
    return is_finite(gain) and math.isfinite(log10_of(gain))


def _slope(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope and half the width of its interval; the latter NaN for two points."""
    offset = x - x.mean()
    spread = float((offset**2).sum())
    rate = float((offset * (y - y.mean())).sum() / spread)
    freedom = len(x) - 2
    if freedom < 1:
        return rate, math.nan
    residuals = y - y.mean() - rate * offset
    variance = float((residuals**2).sum()) / freedom
    student = STUDENT[freedom - 1] if freedom <= len(STUDENT) else NORMAL
    correlation = 0.0
    if len(x) >= AUTOCORRELATED and variance > 0:
        together = float((residuals[1:] * residuals[:-1]).sum() / (residuals**2).sum())
        # Negative correlation would narrow the interval on the word of few points; 1 would widen it without end.
        correlation = min(max(together, 0.0), 0.95)
    widening = math.sqrt((1 + correlation) / (1 - correlation))
    return rate, student * widening * math.sqrt(variance / spread)
