"""A curve in one line of text."""

import math
from collections.abc import Sequence

from mhcdiag.results.numbers import Number, is_finite, log10_of

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
