"""Names from files, made fit to draw: nothing runs over its neighbour, and nothing is read as markup."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import takewhile

from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.textpath import TextToPath

from mhcdiag.plots.style import FONT
from mhcdiag.results.numbers import Number, text

ELLIPSIS = "…"
POINTS_PER_INCH = 72.0


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


def distinct_names(names: Sequence[str]) -> list[str]:
    """The names without the components at their end that all of them share: "step_100" for "step_100/model.pt"."""
    parts = [name.split("/") for name in names]
    ends = zip(*(reversed(each[1:]) for each in parts), strict=False)
    shared = sum(1 for _ in takewhile(lambda level: len(set(level)) == 1, ends))
    return ["/".join(each[: len(each) - shared]) for each in parts]


@cache
def _has_glyph(character: str) -> bool:
    return bool(get_font(findfont(FontProperties(family=FONT))).get_char_index(ord(character)))
