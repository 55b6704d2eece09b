"""The two kinds of axis: gains, of any size, and sites or checkpoints, with as many names as fit.

Gains are drawn as their decimal logarithms on a linear axis that is labelled as a logarithmic one: matplotlib's own
ends at the largest float64, and a composite gain of 1e4880 needs a place as well.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count

from matplotlib.axis import Axis
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator

from mhcdiag.plots.sheet import fitted, text_width
from mhcdiag.plots.style import SMALL_SIZE
from mhcdiag.results.bands import BANDS
from mhcdiag.results.gain import Curve
from mhcdiag.results.numbers import log10_of

CALM = (math.log10(0.9), math.log10(1.1))
"""Smallest range of an axis: rounding errors around 1 must not fill a panel."""
MARGIN = 0.06
"""Share of the range that stays free above and below."""
EXPLODED = max(math.log10(band.upto) for band in BANDS if math.isfinite(band.upto))
"""Decimal logarithm of the gain above which the bands say `exploded`."""
MOST_TICKS = 7
WIDEST_NAME = 0.6
"""Inches; what the last name has room for, half of it right of its panel."""
SPACE = 0.14
"""Inches between two names."""


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


def site_positions(sites: int, *, most: int) -> list[int]:
    """At most about `most` site numbers: the first, the last, and round ones between that crowd neither."""
    steps = (digit * 10**power for power in count() for digit in (1, 2, 5))
    step = next(step for step in steps if sites <= step * max(1, most - 1))
    between = range(step, sites, step)
    return sorted({1, *(site for site in between if min(site - 1, sites - site) >= 0.7 * step), sites})


def set_site_axis(axis: Axis, sites: int, *, length: float, names: Sequence[str]) -> None:
    """Ticks of a horizontal axis `length` inches long: site numbers, and the names below them where given."""
    shown = [fitted(name, width=WIDEST_NAME, size=SMALL_SIZE) for name in names]
    widest = max((text_width(name, size=SMALL_SIZE) for name in shown), default=0.2)
    positions = site_positions(sites, most=min(MOST_TICKS, math.floor(length / (widest + SPACE))))
    _set_ticks(axis, positions, [f"{at}\n{shown[at - 1]}" if shown else f"{at}" for at in positions])


def set_name_axis(axis: Axis, sites: Sequence[str], *, most: int, width: float) -> None:
    """Ticks of an axis that shows `most` names, each at most `width` inches wide."""
    positions = site_positions(len(sites), most=most)
    _set_ticks(axis, positions, [fitted(sites[at - 1], width=width, size=SMALL_SIZE) for at in positions])


def _set_ticks(axis: Axis, positions: Sequence[int], labels: Sequence[str]) -> None:
    axis.set_major_locator(FixedLocator(positions))
    # Labels of ticks come into being when they are drawn, so `parse_math` cannot be set on them here.
    axis.set_major_formatter(FixedFormatter([label.replace("$", r"\$") for label in labels]))
