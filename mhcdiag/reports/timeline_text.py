"""A series in a line of characters, with its events marked below."""

import math
from collections.abc import Sequence
from itertools import pairwise

from mhcdiag.results.spikes import SEVERITY, Curve, Event, Kind

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII_BLOCKS = "_.-=+*%#"

MARKS = {
    Kind.NAN: "N",
    Kind.DIVERGENCE: "D",
    Kind.LOSS_SCALE: "L",
    Kind.SHIFT: "S",
    Kind.SPIKE: "^",
    Kind.GRADSPIKE: "g",
    Kind.BLIP: "'",
}
"""One letter per kind; where several fall on one character, the most severe is shown."""


def timeline(curve: Curve, events: Sequence[Event], *, width: int, blocks: str = BLOCKS) -> tuple[str, str]:
    """Return the curve and the line of marks below it, both at most `width` characters.

    The scale ends at the 98th percentile of the characters' heights: one spike of 10 nats would flatten
    the rest.

    Arguments: curve: in bins; events: of the same series; width: characters; blocks: from low to high.
    """
    bins = len(curve.step)
    if not bins:
        return "", ""
    columns = max(1, min(width, bins))  # a terminal may say that it is one character wide
    edges = [column * bins // columns for column in range(columns + 1)]
    heights = [max(curve.high[first:after]) for first, after in pairwise(edges)]
    ordered = sorted(heights)
    low, high = min(curve.low), ordered[min(int(0.98 * columns), columns - 1)]
    span = high - low or 1.0
    line = "".join(blocks[max(0, min(len(blocks) - 1, int((one - low) / span * len(blocks))))] for one in heights)
    marks = [" "] * columns
    for event in sorted(events, key=lambda event: -SEVERITY.index(event.kind)):
        marks[_column(curve, event, edges)] = MARKS[event.kind]
    return line, "".join(marks).rstrip()


def _column(curve: Curve, event: Event, edges: Sequence[int]) -> int:
    """Return the character at which the event peaks."""
    found = 0
    for index, (run, step) in enumerate(zip(curve.run, curve.step, strict=True)):
        if run < event.run or (run == event.run and (math.isnan(event.peak) or step <= event.peak)):
            found = index
        elif run > event.run:
            break
    return next(column for column in range(len(edges) - 1) if found < edges[column + 1])
