"""Many checkpoints in one pair of panels: one colour each, forward solid and backward dashed."""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mhcdiag.plots.curve_row import CURVES_HEIGHT, CURVES_TOP, curve_axes, draw_heading
from mhcdiag.plots.fitted_text import distinct_names, drawable, fitted, short_names
from mhcdiag.plots.gain_panel import (
    Broken,
    Panel,
    broken_sites,
    draw_curve,
    legend_entries,
    mark_broken,
    panel_limits,
)
from mhcdiag.plots.sheet import Sheet
from mhcdiag.plots.site_axis import site_positions
from mhcdiag.plots.span_heatmap import HEATMAP_HEIGHT, draw_span_heatmaps
from mhcdiag.plots.style import CHECKPOINT_COLOURMAP, CHECKPOINT_COLOURS, GREY, LABEL_SIZE
from mhcdiag.results.gain import Definition, Direction, GainResult
from mhcdiag.results.numbers import is_finite, log10_of

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
    draw_heading(sheet, f"{len(results)} checkpoints", _facts(results), top=CURVES_TOP)
    short = distinct_names(names)
    drawn = [_draw_panel(sheet, results, short, colours, panel) for panel in Panel]
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


def _draw_panel(
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


def _facts(results: Sequence[GainResult]) -> str:
    kinds = sorted({f"{result.layout}, {result.inputs} inputs, {result.tokens} tokens" for result in results})
    return "; ".join(kinds)


def _direction_entries() -> list[Line2D]:
    words = {Direction.FORWARD: "forward (signals)", Direction.BACKWARD: "backward (gradients)"}
    return [Line2D([], [], color=GREY, linestyle=LINE_STYLES[direction], label=words[direction]) for direction in words]


def _badness(result: GainResult) -> float:
    values = [result.worst[direction, Definition.NORM].value for direction in Direction]
    return max(log10_of(value) if is_finite(value) else math.inf for value in values)
