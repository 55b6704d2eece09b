"""The gain figure: single-site and composite gain over depth, after Figures 3 and 7 of arXiv 2512.24880."""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mhcdiag.plots.curve_row import CURVES_HEIGHT, CURVES_TOP, curve_axes, draw_heading
from mhcdiag.plots.fitted_text import distinct_names, drawable, fitted
from mhcdiag.plots.gain_panel import (
    Broken,
    Panel,
    broken_sites,
    draw_curve,
    draw_directions,
    legend_entries,
    mark_broken,
    panel_limits,
    peak,
    shade_broken,
)
from mhcdiag.plots.sheet import Sheet
from mhcdiag.plots.site_axis import site_positions
from mhcdiag.plots.span_heatmap import HEATMAP_HEIGHT, draw_span_heatmaps
from mhcdiag.plots.style import CHECKPOINT_COLOURMAP, CHECKPOINT_COLOURS, GREY, LABEL_SIZE, SMALL_SIZE, house_style
from mhcdiag.results.gain import Definition, Direction, GainResult
from mhcdiag.results.numbers import is_finite, log10_of
from mhcdiag.results.words import counted, short_names

LINE_STYLES: dict[Direction, Any] = {Direction.FORWARD: "solid", Direction.BACKWARD: (0, (3.5, 1.5))}
MOST_NAMES = 21
"""Checkpoints that the legend names; of more, evenly spaced ones."""
NAME_COLUMNS = 3
NAME_WIDTH = 1.95
NAME_HEIGHT = 0.16
"""Inches of one entry in the legend of names."""


def overlaid(results: Sequence[GainResult], *, heatmap: bool) -> Figure:
    """Draw `amax` of all results into one pair of panels, and the heat map of the worst of them if asked."""
    names = short_names([result.path for result in results])
    colours = checkpoint_colours(len(results))
    named = [number - 1 for number in site_positions(len(results), most=MOST_NAMES)]
    names_height = NAME_HEIGHT * math.ceil(len(named) / NAME_COLUMNS) + 0.2
    heatmap_top = CURVES_TOP + CURVES_HEIGHT + names_height
    sheet = Sheet(height=heatmap_top + (0.45 + HEATMAP_HEIGHT if heatmap else 0.0))
    draw_heading(sheet, f"{len(results)} checkpoints", _overlay_facts(results), top=CURVES_TOP)
    short = distinct_names(names)
    drawn = [_overlay_panel(sheet, results, short, colours, panel) for panel in Panel]
    sheet.legend(handles=[*_direction_entries(), *legend_entries(drawn)])
    sheet.legend(
        handles=[
            Line2D([], [], color=colours[i], label=fitted(short[i], width=NAME_WIDTH, size=LABEL_SIZE)) for i in named
        ],
        top=CURVES_TOP + CURVES_HEIGHT,
        ncols=NAME_COLUMNS,
    )
    if heatmap:
        worst = max(range(len(results)), key=lambda i: _badness(results[i]))
        draw_heading(sheet, names[worst], "the worst of them; every stretch of its sites", top=heatmap_top)
        draw_span_heatmaps(sheet, results[worst], top=heatmap_top + 0.4)
    return sheet.figure


def checkpoint_colours(count: int) -> list[str]:
    """One colour per checkpoint: told apart where the palette suffices, else in their order."""
    if count <= len(CHECKPOINT_COLOURS):
        return list(CHECKPOINT_COLOURS[:count])
    colourmap = colormaps[CHECKPOINT_COLOURMAP]
    # Its last tenth is too light a yellow for lines on white.
    return [to_hex(colourmap(0.9 * i / (count - 1))) for i in range(count)]


def _overlay_panel(
    sheet: Sheet, results: Sequence[GainResult], names: Sequence[str], colours: Sequence[str], panel: Panel
) -> Axes:
    deepest = max(results, key=lambda result: len(result.sites)).sites
    alike = all(result.sites == deepest for result in results)
    limits = panel_limits(results, panel, [Definition.AMAX])
    axes = curve_axes(sheet, panel, top=CURVES_TOP, sites=len(deepest), names=deepest if alike else (), limits=limits)
    width = 1.2 if len(results) <= len(CHECKPOINT_COLOURS) else 0.7
    broken: list[Broken] = []
    for result, name, colour in zip(results, names, colours, strict=True):
        for direction in Direction:
            curve = result.curve(panel.kind(direction), direction, Definition.AMAX)
            style = LINE_STYLES[direction]
            draw_curve(axes, curve, label=f"{name}: {direction}", color=colour, linewidth=width, linestyle=style)
        broken += broken_sites(result, panel, prefix=f"{drawable(name)}: ")
    mark_broken(axes, broken)
    return axes


def _overlay_facts(results: Sequence[GainResult]) -> str:
    kinds = sorted({f"{result.layout}, {result.inputs} inputs, {result.tokens} tokens" for result in results})
    return "; ".join(kinds)


def _direction_entries() -> list[Line2D]:
    words = {Direction.FORWARD: "forward (signals)", Direction.BACKWARD: "backward (gradients)"}
    return [Line2D([], [], color=GREY, linestyle=LINE_STYLES[direction], label=words[direction]) for direction in words]


def _badness(result: GainResult) -> float:
    values = [result.worst[direction, Definition.NORM].value for direction in Direction]
    return max(log10_of(value) if is_finite(value) else math.inf for value in values)


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
        f"layout {result.layout}{mixing}; {counted(len(result.sites), 'site')}, "
        f"{counted(result.streams, 'stream')}; {result.inputs} inputs, "
        f"{counted(result.tokens, 'token', form='d')}{spans}"
    )
