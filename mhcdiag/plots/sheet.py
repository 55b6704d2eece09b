"""A figure laid out in inches from its top left corner, so that its text has room whatever the numbers are."""

from collections.abc import Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mhcdiag.plots.style import DOTS_PER_INCH

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
    """A figure of known width; all positions in inches, `top` counted downwards from its upper edge."""

    def __init__(self, *, height: float, width: float = WIDTH) -> None:
        self.height = height
        self.width = width
        self.figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, facecolor="white")

    def axes(self, *, left: float, top: float, width: float, height: float) -> Axes:
        """New axes; the box is that of the axes proper, labels lie outside."""
        box = (left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height)
        return self.figure.add_axes(box)

    def text(self, text: str, *, left: float, top: float, **properties: Any) -> None:
        """One line of literal text, hung from `top`."""
        x, y = left / self.width, 1 - top / self.height
        self.figure.text(x, y, text, ha="left", va="top", parse_math=False, **properties)

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
        for text in legend.get_texts():
            text.set_parse_math(False)
