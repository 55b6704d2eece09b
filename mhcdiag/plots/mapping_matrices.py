"""Token-mean mappings as small heat maps with their row and column sums, after Figure 8 of arXiv 2512.24880."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, ListedColormap, Normalize
from matplotlib.figure import Figure

from mhcdiag.plots.inline_svg import Tip
from mhcdiag.plots.sheet import Sheet, drawable, fitted
from mhcdiag.plots.style import DIRECTION_COLOURS, LABEL_SIZE, RED, SMALL_SIZE, house_style
from mhcdiag.results.gain import Definition, Direction, GainResult, Kind, Matrix, Reduction
from mhcdiag.results.numbers import text
from mhcdiag.results.wording import badness

SIDE = 1.55
"""Inches of a matrix."""
MARGIN = 0.1
SUMS = 0.46
"""Inches right of and below it, for its sums."""
TITLE = 0.26
HEIGHT = TITLE + SIDE + 0.3
MOST_CELLS = 8
"""Streams up to which the numbers have room in the cells."""
MOST_SUMS = 12
COLOURS = LinearSegmentedColormap.from_list("mappings", ["#B35806", "#F7F7F7", "#2166AC"])
"""Orange below 0, blue above: told apart with every kind of colour vision."""
WHOLE = "all sites"


def worst_sites(result: GainResult, *, most: int = 5) -> tuple[int, ...]:
    """Positions of the sites with the largest gain alone (norm, token mean, either direction), the worst first."""
    curves = [result.gain[Kind.SINGLE, direction, Definition.NORM, Reduction.MEAN] for direction in Direction]
    gains = [max((curve[site] for curve in curves), key=badness) for site in range(len(result.sites))]
    return tuple(sorted(range(len(gains)), key=lambda site: (badness(gains[site]), -site), reverse=True)[:most])


def matrix_figure(matrix: Matrix, *, name: str) -> Figure:
    """Draw the token mean of H_res at one site, or of the composite of all.

    Rows are target streams, columns source streams. The sum of a row stands right of it, that of a column below it;
    the largest of each, which is the Amax gain of the mean, is coloured.

    Parameters
    ----------
    matrix
        Row by row.
    name
        Of the site; stands above.
    """
    with house_style():
        sheet = Sheet(height=HEIGHT, width=MARGIN + SIDE + SUMS)
        title = fitted(name, width=SIDE + SUMS - 0.05, size=LABEL_SIZE, weight="bold")
        sheet.text(title, left=MARGIN, top=0.06, size=LABEL_SIZE, weight="bold")
        axes = sheet.axes(left=MARGIN, top=TITLE, width=SIDE, height=SIDE)
        axes.set_label(drawable(name))
        axes.set_axis_off()
        _draw_cells(axes, matrix)
        if len(matrix) <= MOST_SUMS:
            _write_sums(axes, [math.fsum(row) if _finite(row) else math.nan for row in matrix], Direction.FORWARD)
            columns = list(zip(*matrix, strict=True))
            _write_sums(axes, [math.fsum(one) if _finite(one) else math.nan for one in columns], Direction.BACKWARD)
    return sheet.figure


def matrix_tips(matrix: Matrix) -> Iterator[Tip]:
    """Every entry, with its streams."""
    for target, row in enumerate(matrix):
        for source, entry in enumerate(row):
            words = f"from stream {source + 1} to stream {target + 1}: {entry:.6g}"
            yield Tip(left=source, right=source + 1, low=target, high=target + 1, text=words)


def _draw_cells(axes: Axes, matrix: Matrix) -> None:
    streams = len(matrix)
    values = np.array(matrix, dtype=np.float64)
    finite = np.isfinite(values)
    limit = max(1.0, float(np.abs(values[finite]).max(initial=0.0)))
    shade = Normalize(-limit, limit)
    axes.pcolormesh(np.ma.masked_array(values, mask=~finite), norm=shade, cmap=COLOURS, edgecolor="white", linewidth=1)
    if not finite.all():
        broken = np.ma.masked_array(np.ones_like(values), mask=finite)
        axes.pcolormesh(broken, cmap=ListedColormap([RED]), edgecolor="white", linewidth=1)
    axes.set_xlim(0, streams)
    axes.set_ylim(streams, 0)
    for target in range(streams if streams <= MOST_CELLS else 0):
        for source in range(streams):
            value = values[target, source]
            dark = not math.isfinite(value) or abs(value) > 0.55 * limit
            # Not quite black: these letters stand on their cell's colour whatever the ground of a page is.
            colour = "#FFFFFF" if dark else "#111111"
            axes.text(
                source + 0.5, target + 0.5, entry_text(value), color=colour, size=min(LABEL_SIZE, 40 / streams),
                ha="center", va="center",
            )  # fmt: skip


def _write_sums(axes: Axes, sums: Sequence[float], direction: Direction) -> None:
    streams = len(sums)
    largest = max((abs(each) for each in sums if math.isfinite(each)), default=math.nan)
    size = min(SMALL_SIZE, 48 / streams)
    for position, each in enumerate(sums):
        colour = DIRECTION_COLOURS[direction] if not abs(each) < largest else "black"
        if direction is Direction.FORWARD:
            x, y, across, down = streams * (1 + 0.05 / SIDE), position + 0.5, "left", "center"
        else:
            x, y, across, down = position + 0.5, streams * (1 + 0.06 / SIDE), "center", "top"
        axes.text(x, y, entry_text(each), color=colour, size=size, ha=across, va=down, label=f"{direction} sum")


def entry_text(value: float) -> str:
    """An entry of a mapping in at most six letters."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else f"{value:+g}"
    if abs(value) < 100:
        return f"{value:.2f}".replace("-0.00", "0.00")
    return f"{value:.0f}" if abs(value) < 1e5 else ("-" if value < 0 else "") + text(abs(value), digits=2)


def _finite(entries: Sequence[float]) -> bool:
    return all(map(math.isfinite, entries))
