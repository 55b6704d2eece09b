"""An axis of sites, counted from 1, with as many names as fit beside each other."""

import math
from collections.abc import Sequence
from itertools import count

from matplotlib.axis import Axis
from matplotlib.ticker import FixedFormatter, FixedLocator

from mhcdiag.plots.fitted_text import fitted, text_width
from mhcdiag.plots.style import SMALL_SIZE

MOST_TICKS = 7
WIDEST_NAME = 0.6
"""Inches; what the last name has room for, half of it right of its panel."""
SPACE = 0.14
"""Inches between two names."""


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
    axis.set_major_formatter(FixedFormatter([label.replace("$", r"\$") for label in labels]))
