"""The gain figure: single-site and composite gain over depth, after Figures 3 and 7 of arXiv 2512.24880."""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mhcdiag.plots.axes import set_site_axis, site_positions
from mhcdiag.plots.gain_panel import (
    BrokenSite,
    GainPanel,
    broken_sites,
    draw_curve,
    draw_directions,
    legend_entries,
    mark_broken,
    panel_limits,
    peak,
    prepare_panel,
    shade_broken,
)
from mhcdiag.plots.sheet import LEFT, PANEL_LEFTS, PANEL_WIDTH, RIGHT, WIDTH, Sheet, drawable, fitted
from mhcdiag.plots.span_heatmap import HEATMAP_HEIGHT, draw_span_heatmaps
from mhcdiag.plots.style import (
    CHECKPOINT_COLOURS,
    DIRECTION_LABELS,
    GREY,
    LABEL_SIZE,
    SMALL_SIZE,
    TITLE_SIZE,
    checkpoint_colours,
    house_style,
)
from mhcdiag.results.gain import Definition, Direction, GainResult
from mhcdiag.results.wording import badness, distinct_names, plural, short_names

MOST_ROWS = 4
"""Checkpoints that get a row each; more are drawn over each other, which a page holds and the eye can compare."""
CURVES_TOP = 0.38
"""Inches above the first row, for the legend."""
HEADING_HEIGHT = 0.63
PANEL_HEIGHT = 1.75
CURVES_HEIGHT = HEADING_HEIGHT + PANEL_HEIGHT + 0.66
"""Inches of a row with its heading above and its tick and axis labels below."""
LINE_STYLES: dict[Direction, Any] = {Direction.FORWARD: "solid", Direction.BACKWARD: (0, (3.5, 1.5))}
MOST_NAMES = 21
"""Checkpoints that the legend names; of more, evenly spaced ones."""
NAME_COLUMNS = 3
NAME_WIDTH = 1.95
NAME_HEIGHT = 0.16
"""Inches of one entry in the legend of names."""


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
        return _overlaid(results, heatmap=heatmap) if len(results) > MOST_ROWS else _rows(results, heatmap=heatmap)


def _rows(results: Sequence[GainResult], *, heatmap: bool) -> Figure:
    row_height = CURVES_HEIGHT + (HEATMAP_HEIGHT if heatmap else 0.0)
    sheet = Sheet(height=CURVES_TOP + len(results) * row_height)
    limits = {panel: panel_limits(results, panel, tuple(Definition)) for panel in GainPanel}
    drawn: list[Axes] = []
    for row, (result, name) in enumerate(zip(results, short_names([each.path for each in results]), strict=True)):
        top = CURVES_TOP + row * row_height
        _draw_heading(sheet, name, _row_facts(result, heatmap=heatmap), top=top)
        for panel in GainPanel:
            axes = _curve_axes(sheet, panel, top=top, sites=len(result.sites), names=result.sites, limits=limits[panel])
            _draw_panel(axes, result, panel)
            drawn.append(axes)
        if heatmap:
            draw_span_heatmaps(sheet, result, top=top + CURVES_HEIGHT)
    sheet.legend(handles=legend_entries(drawn))
    return sheet.figure


def _draw_panel(axes: Axes, result: GainResult, panel: GainPanel) -> None:
    draw_directions(axes, result, panel)
    curves = {direction: result.curve(panel.kind(direction), direction, Definition.AMAX) for direction in Direction}
    shade_broken(axes, curves.values())
    mark_broken(axes, broken_sites(result, panel))
    peaks = ", ".join(f"{direction} {peak(curve)}" for direction, curve in curves.items())
    axes.set_title(f"max {peaks}", loc="right", size=SMALL_SIZE)


def _row_facts(result: GainResult, *, heatmap: bool) -> str:
    mixing = ", gain 1 by construction" if result.layout in ("identity", "plain") else ""
    spans = f" (heat map: {result.span_tokens})" if heatmap and result.span_tokens != result.tokens else ""
    return (
        f"layout {result.layout}{mixing}; {len(result.sites)} {plural(len(result.sites), 'site')}, "
        f"{result.streams} {plural(result.streams, 'stream')}; "
        f"{result.inputs} inputs, {result.tokens} {plural(result.tokens, 'token')}{spans}"
    )


def _overlaid(results: Sequence[GainResult], *, heatmap: bool) -> Figure:
    """Draw `amax` of all results into one pair of panels, and the heat map of the worst of them if asked."""
    names = short_names([result.path for result in results])
    colours = checkpoint_colours(len(results))
    named = [number - 1 for number in site_positions(len(results), most=MOST_NAMES)]
    names_height = NAME_HEIGHT * math.ceil(len(named) / NAME_COLUMNS) + 0.2
    heatmap_top = CURVES_TOP + CURVES_HEIGHT + names_height
    sheet = Sheet(height=heatmap_top + (0.45 + HEATMAP_HEIGHT if heatmap else 0.0))
    _draw_heading(sheet, f"{len(results)} checkpoints", _overlay_facts(results), top=CURVES_TOP)
    short = distinct_names(names)
    drawn = [_overlay_panel(sheet, results, short, colours, panel) for panel in GainPanel]
    sheet.legend(handles=[*_direction_entries(), *legend_entries(drawn)])
    sheet.legend(
        handles=[
            Line2D([], [], color=colours[i], label=fitted(short[i], width=NAME_WIDTH, size=LABEL_SIZE)) for i in named
        ],
        top=CURVES_TOP + CURVES_HEIGHT,
        ncols=NAME_COLUMNS,
    )
    if heatmap:
        worst = max(range(len(results)), key=lambda i: _worst_of(results[i]))
        _draw_heading(sheet, names[worst], "the worst of them; every stretch of its sites", top=heatmap_top)
        draw_span_heatmaps(sheet, results[worst], top=heatmap_top + 0.4)
    return sheet.figure


def _overlay_panel(
    sheet: Sheet, results: Sequence[GainResult], names: Sequence[str], colours: Sequence[str], panel: GainPanel
) -> Axes:
    deepest = max(results, key=lambda result: len(result.sites)).sites
    alike = all(result.sites == deepest for result in results)
    limits = panel_limits(results, panel, [Definition.AMAX])
    axes = _curve_axes(sheet, panel, top=CURVES_TOP, sites=len(deepest), names=deepest if alike else (), limits=limits)
    width = 1.2 if len(results) <= len(CHECKPOINT_COLOURS) else 0.7
    broken: list[BrokenSite] = []
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
    return [Line2D([], [], color=GREY, linestyle=LINE_STYLES[each], label=DIRECTION_LABELS[each]) for each in Direction]


def _worst_of(result: GainResult) -> float:
    values = [result.worst[direction, Definition.NORM].value for direction in Direction]
    return max(map(badness, values))


def _draw_heading(sheet: Sheet, name: str, facts: str, *, top: float) -> None:
    """Write the name of a row, and below it what a reader must know of its numbers."""
    width = WIDTH - LEFT - RIGHT
    shown = fitted(name, width=width, size=TITLE_SIZE, weight="bold")
    sheet.text(shown, left=LEFT, top=top, size=TITLE_SIZE, weight="bold")
    sheet.text(fitted(facts, width=width, size=LABEL_SIZE), left=LEFT, top=top + 0.19, size=LABEL_SIZE, color=GREY)


def _curve_axes(
    sheet: Sheet, panel: GainPanel, *, top: float, sites: int, names: Sequence[str], limits: tuple[float, float]
) -> Axes:
    """An empty panel of the row that begins at `top`: the single-site one left, the composite one right.

    Parameters
    ----------
    sites
        Number of sites.
    names
        Their names; empty where checkpoints differ in them.
    limits
        Ends of the gain axis as decimal logarithms.
    """
    left = PANEL_LEFTS[list(GainPanel).index(panel)]
    axes = sheet.axes(left=left, top=top + HEADING_HEIGHT, width=PANEL_WIDTH, height=PANEL_HEIGHT)
    prepare_panel(axes, sites=sites, limits=limits)
    set_site_axis(axes.xaxis, sites, length=PANEL_WIDTH, names=names)
    if panel is GainPanel.SINGLE:
        axes.set_title("single site", loc="left", weight="bold")
        axes.set_xlabel("site $l$")
        axes.set_ylabel("gain (amax, token mean)")
    else:
        axes.set_title("composite", loc="left", weight="bold")
        axes.set_xlabel(f"site $l$ (forward: 1 to $l$, backward: $l$ to {sites})" if names else "site $l$")
    axes.yaxis.set_label_coords(-0.5 / PANEL_WIDTH, 0.5)
    return axes
