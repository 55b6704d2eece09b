"""The gain figure: single-site and composite gain over depth, after Figures 3 and 7 of arXiv 2512.24880."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mhcdiag.plots.curve_row import CURVES_HEIGHT, CURVES_TOP, curve_axes, draw_heading
from mhcdiag.plots.fitted_text import short_names
from mhcdiag.plots.gain_overlay import overlaid
from mhcdiag.plots.gain_panel import (
    Panel,
    broken_sites,
    draw_directions,
    legend_entries,
    mark_broken,
    panel_limits,
    peak,
    shade_broken,
)
from mhcdiag.plots.sheet import Sheet
from mhcdiag.plots.span_heatmap import HEATMAP_HEIGHT, draw_span_heatmaps
from mhcdiag.plots.style import SMALL_SIZE, house_style
from mhcdiag.results.gain import Definition, Direction, GainResult

MOST_ROWS = 4
"""Checkpoints that get a row each; more are drawn over each other, which a page holds and the eye can compare."""


def gain_figure(results: Sequence[GainResult], *, heatmap: bool = False) -> Figure:
    """Draw single-site gains on the left and composite gains on the right, forward and backward, over depth.

    Gains are token means on logarithmic axes: the definition `amax` as solid lines, as in arXiv 2512.24880, Figures 3
    and 7, and `norm` dashed where it differs visibly. Several checkpoints share their axes: up to four stand below
    each other, more are drawn over each other with `amax` alone. NaN and infinity become red triangles.

    Parameters
    ----------
    results
        At least one measurement.
    heatmap
        Add the gain of every stretch of sites; where checkpoints are drawn over each other, only that of the worst.

    Returns
    -------
    Figure
        8 inches wide; save it with `mhcdiag.plots.style.SAVE_OPTIONS`, within `house_style()`, for equal bytes.

    Raises
    ------
    ValueError
        There is nothing to draw.
    """
    if not results:
        raise ValueError("a gain figure needs at least one result")
    with house_style():
        return overlaid(results, heatmap=heatmap) if len(results) > MOST_ROWS else _rows(results, heatmap=heatmap)


def _rows(results: Sequence[GainResult], *, heatmap: bool) -> Figure:
    row_height = CURVES_HEIGHT + (HEATMAP_HEIGHT if heatmap else 0.0)
    sheet = Sheet(height=CURVES_TOP + len(results) * row_height)
    limits = {panel: panel_limits(results, panel, tuple(Definition)) for panel in Panel}
    drawn: list[Axes] = []
    for row, (result, name) in enumerate(zip(results, short_names([each.path for each in results]), strict=True)):
        top = CURVES_TOP + row * row_height
        draw_heading(sheet, name, _facts(result, heatmap=heatmap), top=top)
        for panel in Panel:
            axes = curve_axes(sheet, panel, top=top, sites=len(result.sites), names=result.sites, limits=limits[panel])
            _draw_panel(axes, result, panel)
            drawn.append(axes)
        if heatmap:
            draw_span_heatmaps(sheet, result, top=top + CURVES_HEIGHT)
    sheet.legend(handles=legend_entries(drawn))
    return sheet.figure


def _draw_panel(axes: Axes, result: GainResult, panel: Panel) -> None:
    draw_directions(axes, result, panel)
    curves = {direction: result.curve(panel.kind(direction), direction, Definition.AMAX) for direction in Direction}
    shade_broken(axes, curves.values())
    mark_broken(axes, broken_sites(result, panel))
    peaks = ", ".join(f"{direction} {peak(curve)}" for direction, curve in curves.items())
    axes.set_title(f"max {peaks}", loc="right", size=SMALL_SIZE)


def _facts(result: GainResult, *, heatmap: bool) -> str:
    mixing = ", gain 1 by construction" if result.layout in ("identity", "plain") else ""
    spans = f" (heat map: {result.span_tokens})" if heatmap and result.span_tokens != result.tokens else ""
    return (
        f"layout {result.layout}{mixing}; {_counted(len(result.sites), 'site')}, "
        f"{_counted(result.streams, 'stream')}; {result.inputs} inputs, {_counted(result.tokens, 'token')}{spans}"
    )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
