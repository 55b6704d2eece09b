"""What a reader sees when pointing at a place of a figure."""

from dataclasses import dataclass

MOST_BANDS = 120
"""Bands across one panel of a long series: narrower ones could not be pointed at."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tip:
    """A rectangle in the coordinates of its axes, with the text that belongs to it."""

    left: float
    """Where it begins."""
    right: float
    """Where it ends; a rectangle too narrow to be hit is widened when drawn."""
    text: str
    """What it says, over one or several lines."""
    low: float | None = None
    """Lower end; None for the bottom of the axes."""
    high: float | None = None
    """Upper end; None for the top of the axes."""
    axes: int = 0
    """Which axes of the figure, from 0."""
