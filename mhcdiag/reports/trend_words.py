"""A trend in words: growth, crossings, risk."""

import math
from collections.abc import Sequence
from itertools import pairwise

from mhcdiag.results.bands import RISK, risk_of
from mhcdiag.results.gain import Direction
from mhcdiag.results.numbers import Number, is_finite, text
from mhcdiag.results.spikes import Event, Kind
from mhcdiag.results.trend import Crossing, Driver, Growth, TrendResult

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


def limit_words(name: str) -> str:
    """A limit that gains or streams may pass, by its name."""
    return f"above {name}" if name[0].isdigit() else f"{name} overflows"


def driver_words(drivers: Sequence[Driver]) -> str:
    """The sites that drive the growth, with their shares."""
    return ", ".join(f"{each.site} {100 * each.share:.0f} %" for each in drivers) or "nobody"


def worst_risk(result: TrendResult) -> str:
    """What our study saw of runs with the larger peak of both directions."""
    peaks = [result.trends[direction].peak for direction in Direction]
    known = [peak for peak in peaks if is_finite(peak)]
    return f"{risk_words(max(known) if known else peaks[0])}; {RISK_NOTE}"


def events_of_log(result: TrendResult) -> list[tuple[str, Event]]:
    """Series and event, blips left out; empty where there is no log."""
    return [
        (name, event)
        for name, series in (result.log.series.items() if result.log is not None else ())
        for event in series.events
        if event.kind is not Kind.BLIP
    ]
