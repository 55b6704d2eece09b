"""A logarithmic axis without an upper end: gains are drawn as their decimal logarithms, so that 1e4880 has a place."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from matplotlib.axis import Axis
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator

from mhcdiag.results.bands import BANDS
from mhcdiag.results.gain import Curve
from mhcdiag.results.numbers import log10_of

CALM = (math.log10(0.9), math.log10(1.1))
"""Smallest range of an axis: rounding errors around 1 must not fill a panel."""
MARGIN = 0.06
"""Share of the range that stays free above and below."""
EXPLODED = max(math.log10(band.upto) for band in BANDS if math.isfinite(band.upto))
"""Decimal logarithm of the gain above which the bands say `exploded`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LogTicks:
    """Ticks of an axis of decimal logarithms."""

    major: tuple[float, ...]
    """Positions of the labelled ticks."""
    labels: tuple[str, ...]
    """Their labels: the gains, not the logarithms."""
    minor: tuple[float, ...]
    """Positions of the small ticks between them."""


def exponents(curve: Curve) -> list[float]:
    """Decimal logarithms of the gains; NaN, which leaves a gap, for NaN, infinity and 0."""
    logs = [log10_of(number) for number in curve]
    return [log if math.isfinite(log) else math.nan for log in logs]


def log_limits(curves: Iterable[Curve]) -> tuple[float, float]:
    """Ends of an axis, as decimal logarithms, that shows all curves and the gain 1."""
    logs = [log for curve in curves for log in exponents(curve) if not math.isnan(log)]
    low, high = min([0.0, *logs]), max([0.0, *logs])
    if CALM[0] <= low and high <= CALM[1]:
        return CALM
    margin = MARGIN * (high - low)
    return low - margin, high + margin


def log_ticks(low: float, high: float) -> LogTicks:
    """Ticks for an axis from `low` to `high`, decimal logarithms: plain gains over a short range, else decades."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    if high - low < 0.45:
        return _plain(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]).tick_values(10**low, 10**high), low, high)
    if high - low < 2.5:
        # Within about a decade 1-2-5 would leave one or two ticks.
        digits = (1, 2, 3, 4, 6, 8) if high - low < 0.95 else (1, 2, 5)
        return _plain([digit * 10.0**power for power in powers for digit in digits], low, high)
    return _decades(low, high)


def set_log_axis(axis: Axis, low: float, high: float) -> None:
    """Give an axis of decimal logarithms its ticks."""
    ticks = log_ticks(low, high)
    axis.set_major_locator(FixedLocator(ticks.major))
    axis.set_major_formatter(FixedFormatter(ticks.labels))
    axis.set_minor_locator(FixedLocator(ticks.minor))


def _plain(values: Sequence[float], low: float, high: float) -> LogTicks:
    shown = [(math.log10(value), f"{value:.6g}") for value in values if value > 0 and low <= math.log10(value) <= high]
    return LogTicks(major=tuple(at for at, _ in shown), labels=tuple(label for _, label in shown), minor=())


def _decades(low: float, high: float) -> LogTicks:
    located = MaxNLocator(nbins=6, steps=[1, 2, 5, 10], integer=True).tick_values(low, high)
    powers = [round(power) for power in located if low <= power <= high]
    step = powers[1] - powers[0]
    decades = range(math.floor(low), math.ceil(high) + 1)
    if step == 1:
        between = [power + math.log10(digit) for power in decades for digit in range(2, 10)]
    elif step <= 10:
        between = [float(power) for power in decades if power not in powers]
    else:
        between = []
    return LogTicks(
        major=tuple(map(float, powers)),
        labels=tuple(f"$10^{{{power}}}$" for power in powers),
        minor=tuple(at for at in between if low <= at <= high),
    )
