"""The gain of every stretch of sites as a heat map: where amplification begins, and where it ends."""

import math
from collections.abc import Iterable

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import Stroke

from mhcdiag.plots.axes import CALM, exponents, set_log_axis, set_name_axis
from mhcdiag.plots.sheet import LEFT, PANEL_LEFTS, PANEL_WIDTH, Sheet, fitted, gain_text
from mhcdiag.plots.style import HEAT_COLOURMAP, LABEL_SIZE, RED, house_style
from mhcdiag.results.gain import Curve, Definition, Direction, GainResult, WorstSpan
from mhcdiag.results.numbers import is_finite

SIDE = 2.4
HEATMAP_HEIGHT = 0.25 + SIDE + 0.55
"""Inches of a row of heat maps with its titles and labels."""
MOST_NAMES = 5
WIDEST_NAME = 0.42
"""Inches; what the margin left of the map has room for."""


def draw_span_heatmaps(sheet: Sheet, result: GainResult, *, top: float) -> tuple[Axes, Axes]:
    """Draw token means of the `norm` gain over all P(a,b), forward and backward, in one row of the sheet.

    Both maps share one logarithmic colour scale, which belongs to this result alone: a heat map tells where, and the
    curves tell how much more than elsewhere.
    """
    matrices = [result.spans.get((direction, Definition.NORM), ()) for direction in Direction]
    low, high = _colour_limits(row for matrix in matrices for row in matrix)
    colours = Normalize(low, high)
    forward, backward = (sheet.axes(left=left, top=top + 0.25, width=SIDE, height=SIDE) for left in PANEL_LEFTS)
    for axes, direction in ((forward, Direction.FORWARD), (backward, Direction.BACKWARD)):
        _fill(axes, result, direction, colours)
    _draw_bar(sheet, left=PANEL_LEFTS[1] + SIDE + 0.12, top=top + 0.25, colours=colours)
    return forward, backward


def span_figure(result: GainResult, direction: Direction) -> Figure:
    """Draw the `norm` gain of every stretch of sites in one direction, in a figure of its own.

    Parameters
    ----------
    result
        The measurement.
    direction
        Forward or backward; the two have scales of their own.
    """
    matrix = result.spans.get((direction, Definition.NORM), ())
    low, high = _colour_limits(matrix)
    with house_style():
        sheet = Sheet(height=0.3 + SIDE + 0.55, width=LEFT + SIDE + 0.75)
        axes = sheet.axes(left=LEFT, top=0.3, width=SIDE, height=SIDE)
        _fill(axes, result, direction, Normalize(low, high))
        _draw_bar(sheet, left=LEFT + SIDE + 0.12, top=0.3, colours=Normalize(low, high))
    return sheet.figure


def _fill(axes: Axes, result: GainResult, direction: Direction, colours: Normalize) -> None:
    matrix = result.spans.get((direction, Definition.NORM), ())
    if matrix:
        _draw_map(axes, matrix, colours)
        _mark_worst(axes, result.worst[direction, Definition.NORM], result.sites)
    _label(axes, result, direction)


def _draw_bar(sheet: Sheet, *, left: float, top: float, colours: Normalize) -> None:
    bar = sheet.axes(left=left, top=top, width=0.11, height=SIDE)
    sheet.figure.colorbar(ScalarMappable(colours, colormaps[HEAT_COLOURMAP]), cax=bar)
    assert colours.vmin is not None
    assert colours.vmax is not None
    set_log_axis(bar.yaxis, colours.vmin, colours.vmax)
    bar.set_ylabel("gain (norm, token mean)")


def _colour_limits(rows: Iterable[Curve]) -> tuple[float, float]:
    """Ends of the colour scale as decimal logarithms; the gain 1 is its darkest colour where nothing attenuates."""
    logs = [log for row in rows for log in exponents(row) if not math.isnan(log)]
    return min([0.0, *logs]), max([CALM[1], *logs])


def _draw_map(axes: Axes, matrix: tuple[Curve, ...], colours: Normalize) -> None:
    sites = len(matrix)
    logs = np.ma.masked_invalid([exponents(row) for row in matrix])
    extent = (0.5, sites + 0.5, sites + 0.5, 0.5)
    axes.imshow(logs, norm=colours, cmap=HEAT_COLOURMAP, extent=extent, interpolation="nearest")
    broken = np.array([[b >= a and not is_finite(row[b]) for b in range(sites)] for a, row in enumerate(matrix)])
    if broken.any():
        red = np.ma.masked_array(broken.astype(float), mask=~broken)
        axes.imshow(red, cmap=ListedColormap([RED]), extent=extent, interpolation="nearest")


def _mark_worst(axes: Axes, worst: WorstSpan, sites: tuple[str, ...]) -> None:
    a, b = sites.index(worst.from_site) + 1, sites.index(worst.to_site) + 1
    # White on a black rim is seen on every colour of the map, and on the paper beside it.
    rim = [Stroke(linewidth=2.6, foreground="black"), Stroke(linewidth=1.2, foreground="white")]
    axes.plot(b, a, "o", markersize=8, markerfacecolor="none", path_effects=rim, label="worst", clip_on=False)


def _label(axes: Axes, result: GainResult, direction: Direction) -> None:
    axes.set_title(_title(result, direction), loc="left", size=LABEL_SIZE, parse_math=False)
    set_name_axis(axes.xaxis, result.sites, most=MOST_NAMES, width=WIDEST_NAME)
    set_name_axis(axes.yaxis, result.sites, most=MOST_NAMES + 1, width=WIDEST_NAME)
    axes.set_xlabel("to site b")
    axes.set_ylabel("from site a")
    axes.yaxis.set_label_coords(-(WIDEST_NAME + 0.1) / SIDE, 0.5)
    axes.set_xlim(0.5, len(result.sites) + 0.5)
    axes.set_ylim(len(result.sites) + 0.5, 0.5)


def _title(result: GainResult, direction: Direction) -> str:
    worst = result.worst.get((direction, Definition.NORM))
    if worst is None:
        return f"{direction}: no mixing"
    ends = worst.from_site if worst.from_site == worst.to_site else f"{worst.from_site} to {worst.to_site}"
    return f"{direction}: worst {gain_text(worst.value)}, " + fitted(ends, width=PANEL_WIDTH - 1.6, size=LABEL_SIZE)
