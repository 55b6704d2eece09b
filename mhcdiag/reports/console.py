"""What the terminal reports share: colours of verdicts, limits in words, and curves drawn in characters."""

import math
from collections.abc import Sequence
from itertools import pairwise

from rich.console import RenderableType
from rich.padding import Padding

from mhcdiag.results.numbers import Number, is_finite, log10_of, text_beside
from mhcdiag.results.spikes import KINDS_BY_SEVERITY, BinnedCurve, Event, EventKind
from mhcdiag.results.verdict import Limit, Verdict

VERDICT_STYLES = {Verdict.PASS: "bold green", Verdict.FAIL: "bold red", Verdict.UNJUDGED: "bold yellow"}

SAMPLED_STYLE = "bold yellow"
"""Of a pass that is merely sampled: not the green of one that is proved or measured."""


def indented(part: RenderableType) -> Padding:
    """Two columns further right."""
    return Padding(part, (0, 0, 0, 2))


def compared_text(limit: Limit, *, at_least: bool = False) -> str:
    """Metric, value and limit as a statement that is true: "gain.worst.forward.norm 3041 > 1000".

    Parameters
    ----------
    limit
        The number that was judged.
    at_least
        Whether the limit is the smallest that passes, in place of the largest.
    """
    value, bound = text_beside(limit.value, limit.limit)
    holds, fails = (">=", "<") if at_least else ("<=", ">")
    return f"{limit.metric} {value} {holds if limit.passed else fails} {bound}"


BLOCKS = "▁▂▃▄▅▆▇█"
ASCII_BLOCKS = "_.-=+*%#"
BROKEN = "!"


def sparkline(values: Sequence[Number], *, width: int, low: float, high: float, blocks: str = BLOCKS) -> str:
    """The curve on a logarithmic scale, at most `width` characters.

    Parameters
    ----------
    values
        Non-negative numbers; each character shows the largest of its share, so that no peak is lost.
    low, high
        Decimal logarithms of the bottom and the top of the scale.
    blocks
        Characters from low to high; NaN and infinity become `!`.
    """
    columns = min(width, len(values))
    shares = [values[i * len(values) // columns : (i + 1) * len(values) // columns] for i in range(columns)]
    return "".join(_block(share, low, high, blocks) for share in shares)


def log_range(curves: Sequence[Sequence[Number]]) -> tuple[float, float]:
    """Decimal logarithms of the smallest and largest positive number; at least a factor of 2 apart."""
    logs = [log10_of(value) for curve in curves for value in curve if is_finite(value)]
    logs = [log for log in logs if math.isfinite(log)] or [0.0]
    low, high = min(logs), max(logs)
    return low, max(high, low + math.log10(2))


def _block(share: Sequence[Number], low: float, high: float, blocks: str) -> str:
    if not all(is_finite(value) for value in share):
        return BROKEN
    height = (max(log10_of(value) for value in share) - low) / (high - low)
    return blocks[max(0, min(len(blocks) - 1, int(height * len(blocks))))] if height > -math.inf else blocks[0]


MARKS = {
    EventKind.NAN: "N",
    EventKind.DIVERGENCE: "D",
    EventKind.LOSS_SCALE: "L",
    EventKind.RANK: "R",
    EventKind.ISOLATED_NAN: "n",
    EventKind.SHIFT: "S",
    EventKind.SPIKE: "^",
    EventKind.GRADSPIKE: "g",
    EventKind.BLIP: "'",
}
"""One letter per kind; where several fall on one character, the most severe is shown."""


def timeline(curve: BinnedCurve, events: Sequence[Event], *, width: int, blocks: str = BLOCKS) -> tuple[str, str]:
    """Return the curve and the line of marks below it, both at most `width` characters.

    The scale ends at the 98th percentile of the characters' heights: one spike of 10 nats would flatten the rest.

    Parameters
    ----------
    curve
        A series, thinned to bins.
    events
        Events of the same series.
    width
        Characters.
    blocks
        Characters from low to high.
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
    for event in sorted(events, key=lambda event: -KINDS_BY_SEVERITY.index(event.kind)):
        marks[_column(curve, event, edges)] = MARKS[event.kind]
    return line, "".join(marks).rstrip()


def _column(curve: BinnedCurve, event: Event, edges: Sequence[int]) -> int:
    """Return the character at which the event peaks."""
    found = 0
    for index, (run, step) in enumerate(zip(curve.run, curve.step, strict=True)):
        if run < event.run or (run == event.run and (math.isnan(event.peak) or step <= event.peak)):
            found = index
        elif run > event.run:
            break
    return next(column for column in range(len(edges) - 1) if found < edges[column + 1])
