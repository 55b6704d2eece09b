"""A figure laid out in inches, and names from files cut so that none runs over its neighbour or is read as markup."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.textpath import TextToPath

from mhcdiag.plots.style import DOTS_PER_INCH, FONT
from mhcdiag.results.numbers import Number, text

POINTS_PER_INCH = 72.0
ELLIPSIS = "…"
WIDTH = 8.0
LEFT = 0.72
"""Room for tick labels and the axis label, of the left panel."""
RIGHT = 0.24
GAP = 0.72
"""The same for the right panel."""
PANEL_WIDTH = (WIDTH - LEFT - GAP - RIGHT) / 2
PANEL_LEFTS = (LEFT, LEFT + PANEL_WIDTH + GAP)
"""Left edges of the two panels of a row."""
NARROW = LEFT + PANEL_WIDTH + RIGHT
"""Width of a figure of one panel: two stand beside each other on a page, and one still reads on a telephone."""


class Sheet:
    """A figure of known width; all positions in inches, `top` counted downwards from its upper edge.

    Site names and paths come from files and may be of any length, and the number of rows is not known either: in shares
    of the figure, as matplotlib counts, room for text would shrink and grow with both.
    """

    def __init__(self, *, height: float, width: float = WIDTH) -> None:
        self.height = height
        self.width = width
        self.figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, facecolor="white")

    def axes(self, *, left: float, top: float, width: float, height: float) -> Axes:
        """New axes; the box is that of the axes proper, labels lie outside."""
        box = (left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(box)

    def text(self, line: str, *, left: float, top: float, **properties: Any) -> None:
        """One line of literal text, hung from `top`."""
        x, y = left / self.width, 1 - top / self.height
        self.figure.text(x, y, line, ha="left", va="top", parse_math=False, **properties)

    def legend(self, *, handles: Sequence[Artist], top: float = 0.12, ncols: int = 6) -> None:
        """A legend hung from `top`, from the left edge of the left panel on."""
        anchor = (LEFT / self.width, 1 - top / self.height)
        legend = self.figure.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=anchor,
            ncols=ncols,
            borderaxespad=0,
            borderpad=0,
            columnspacing=1.6,
            handlelength=2.2,
        )
        for entry in legend.get_texts():
            entry.set_parse_math(False)


@lru_cache(maxsize=8192)  # the panels of a page show the same names again and again
def text_width(line: str, *, size: float, weight: str = "normal") -> float:
    """Width of one line in inches, `size` in points."""
    font = FontProperties(family=FONT, size=size, weight=weight)
    return float(TextToPath().get_text_width_height_descent(line, font, ismath=False)[0]) / POINTS_PER_INCH


def fitted(name: str, *, width: float, size: float, weight: str = "normal") -> str:
    """The name as it can be drawn within `width` inches; too long a name loses its beginning.

    Paths and tensor names differ at their end more often than at their beginning.
    """
    whole = drawable(name)
    # No letter is narrower than a fifth of the size, so that a path of thousands of letters need not be measured.
    most = math.ceil(width * POINTS_PER_INCH / (size / 5))
    if len(whole) <= most and text_width(whole, size=size, weight=weight) <= width:
        return whole

    def too_wide(letters: int) -> bool:
        return text_width(ELLIPSIS + whole[-letters:], size=size, weight=weight) > width

    kept = bisect_left(range(2, min(most, len(whole))), True, key=too_wide)
    return ELLIPSIS + whole[-(kept + 1) :]


def drawable(name: str) -> str:
    """The name with characters that the font lacks, or that control a terminal, written as escapes."""
    return "".join(c if c.isprintable() and _has_glyph(c) else c.encode("unicode_escape").decode() for c in name)


def gain_text(gain: Number) -> str:
    """A gain with four significant digits, as the terminal report writes it."""
    return text(gain).replace("nan", "NaN")


@cache
def _has_glyph(character: str) -> bool:
    return bool(get_font(findfont(FontProperties(family=FONT))).get_char_index(ord(character)))
