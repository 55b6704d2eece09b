"""A trend in words: growth, crossings, risk."""

import math
from itertools import pairwise

from mhcdiag.results.numbers import Number, is_finite, text
from mhcdiag.results.risk import RISK, risk_of
from mhcdiag.results.trend import Crossing, Growth

RISK_NOTE = "a level of risk, not a countdown: gain did not tell when an event came, and toys are not large models"


def growth_words(growth: Growth) -> str:
    """Rate in doublings per 1000 steps with its interval, and the doubling time."""
    if not math.isfinite(growth.rate):
        return f"unknown: {growth.points} usable point(s)"
    rate = growth.doublings_per_1000()
    interval = ""
    if math.isfinite(growth.low):
        factor = rate / growth.rate if growth.rate else 1000 / math.log(2)
        interval = f" ({growth.low * factor:.3g} to {growth.high * factor:.3g})"
    if growth.grows():
        return f"{rate:.3g}{interval} doublings per 1000 steps: doubles every {growth.doubling_steps():,.0f} steps"
    return f"{rate:.3g}{interval} doublings per 1000 steps: no growth that stands out"


def crossing_words(crossing: Crossing) -> str:
    """When a limit was or may be passed."""
    if crossing.passed is not None:
        return f"passed at step {crossing.passed:,.0f}"
    if crossing.expected is None:
        return "not at this rate"
    if crossing.earliest is None:
        return f"step {crossing.expected:,.0f}"
    latest = "never" if crossing.latest is None else f"{crossing.latest:,.0f}"
    return f"step {crossing.expected:,.0f} ({crossing.earliest:,.0f} to {latest})"


def risk_words(gain: Number) -> str:
    """What our study saw of runs that had reached such a gain."""
    band = risk_of(gain)
    lower = next((each.upto for each, other in pairwise(RISK) if other is band), 0.0)
    span = f"up to {band.upto:g}" if math.isfinite(band.upto) else f"above {lower:g}"
    if lower and math.isfinite(band.upto):
        span = f"{lower:g} to {band.upto:g}"
    named = text(gain) if is_finite(gain) else "not finite"
    if not band.runs:
        return f"gain {named}: our toy study has no run of unconstrained connections in the band {span}"
    return f"gain {named}: in our toy study {band.events} of {band.runs} runs in the band {span} had a loss event"
