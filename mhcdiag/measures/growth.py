"""Log-linear growth: rate, interval, projected crossings."""

import math
from collections.abc import Sequence

import numpy as np

from mhcdiag.measures.slope_interval import slope_interval
from mhcdiag.results.numbers import Number, is_finite, log10_of, within
from mhcdiag.results.trend import Crossing, Growth

LEAST_POINTS = 6
"""Points that a fit takes at least, if there are as many: four leave two degrees of freedom, so that the interval is
seven standard errors wide to either side, and gains that double from each checkpoint to the next do not stand out."""


def fit_growth(steps: Sequence[float], gains: Sequence[Number], *, fit_from: float | None = None) -> Growth:
    """Fit ln(gain) = a + rate * step by least squares to the later half of a run.

    The early part of a run tells little of its end, so the fit takes the points of the later half of the steps, and at
    least the last six. The interval allows for noise whose neighbours correlate (`slope_interval`).

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
    slope = slope_interval(x, y)
    return Growth(
        rate=slope.rate,
        low=slope.low,
        high=slope.high,
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
