"""One panel of the gain figure on its own: single-site or composite gain over depth, logarithmic or linear."""

import math
from collections.abc import Iterator
from enum import StrEnum

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mhcdiag.plots.axes import EXPLODED, MARGIN, set_site_axis
from mhcdiag.plots.gain_panel import (
    BROKEN_ROOM,
    GainPanel,
    broken_sites,
    draw_directions,
    legend_entries,
    mark_broken,
    panel_limits,
    prepare_panel,
    shade_broken,
)
from mhcdiag.plots.inline_svg import Tip
from mhcdiag.plots.sheet import LEFT, NARROW, PANEL_WIDTH, Sheet, drawable, gain_text
from mhcdiag.plots.style import DASHED, DIRECTION_COLOURS, DIRECTION_WIDTHS, DOTTED, GREY, house_style
from mhcdiag.results.gain import Curve, Definition, Direction, GainResult
from mhcdiag.results.numbers import Huge, is_finite

LEGEND_COLUMNS = 2
TOP = 0.56
"""Inches for two rows of the legend."""
HEIGHT = 1.9
BOTTOM = 0.66
LARGEST = 1e300
"""Gain above which a linear axis cannot be laid out in float64."""


class Scale(StrEnum):
    """Scale of the gain axis."""

    LOG = "log"
    """Decimal logarithms: every gain has a place."""
    LINEAR = "linear"
    """From 0; gains above 1e300 are left out."""


def depth_figure(result: GainResult, panel: GainPanel, *, scale: Scale = Scale.LOG) -> Figure:
    """Draw token means of the gain over depth, forward and backward, in one panel.

    The definition `amax` is drawn solid, as in arXiv 2512.24880, Figures 3 and 7, and `norm` dashed where it differs
    visibly.

    Parameters
    ----------
    result
        The measurement.
    panel
        Single sites, or composites.
    scale
        Scale of the gain axis.

    Returns
    -------
    Figure
        About 4 inches wide.
    """
    with house_style():
        sheet = Sheet(height=TOP + HEIGHT + BOTTOM, width=NARROW)
        axes = sheet.axes(left=LEFT, top=TOP, width=PANEL_WIDTH, height=HEIGHT)
        if scale is Scale.LOG:
            prepare_panel(axes, sites=len(result.sites), limits=panel_limits([result], panel, tuple(Definition)))
            draw_directions(axes, result, panel)
        else:
            _draw_linear(axes, result, panel)
        shade_broken(axes, (result.curve(panel.kind(direction), direction, Definition.AMAX) for direction in Direction))
        mark_broken(axes, broken_sites(result, panel))
        set_site_axis(axes.xaxis, len(result.sites), length=PANEL_WIDTH, names=result.sites)
        composite = f"site l (forward: 1 to l, backward: l to {len(result.sites)})"
        axes.set_xlabel("site l" if panel is GainPanel.SINGLE else composite)
        axes.set_ylabel("gain (token mean)")
        axes.yaxis.set_label_coords(-0.5 / PANEL_WIDTH, 0.5)
        sheet.legend(handles=legend_entries([axes]), ncols=LEGEND_COLUMNS)
    return sheet.figure


def depth_tips(result: GainResult, panel: GainPanel) -> Iterator[Tip]:
    """Every gain of the panel, site by site."""
    for index, site in enumerate(result.sites):
        lines = [f"site {index + 1}: {drawable(site)}"]
        for direction in Direction:
            amax, norm = (result.curve(panel.kind(direction), direction, each)[index] for each in Definition)
            lines.append(f"{direction}: amax {gain_text(amax)}, norm {gain_text(norm)}")
        yield Tip(left=index + 0.5, right=index + 1.5, text="\n".join(lines))


def _draw_linear(axes: Axes, result: GainResult, panel: GainPanel) -> None:
    sites = len(result.sites)
    margin = max(0.5, 0.02 * sites)
    curves = {
        (direction, definition): result.curve(panel.kind(direction), direction, definition)
        for direction in Direction
        for definition in Definition
    }
    heights = [height for curve in curves.values() for height in _heights(curve) if not math.isnan(height)]
    broken = any(not is_finite(number) for curve in curves.values() for number in curve)
    high = max([1.1, *heights]) * (1 + MARGIN + (BROKEN_ROOM if broken else 0.0))
    axes.set_xlim(1 - margin, sites + margin)
    axes.set_ylim(0.0, high)
    axes.grid(axis="y")
    axes.axhline(1.0, color=GREY, linewidth=0.8, zorder=1.5, label="gain 1")
    if high >= 10**EXPLODED:
        axes.axhline(10**EXPLODED, color="black", linewidth=0.9, linestyle=DOTTED, zorder=1.5, label="exploded")
    for (direction, definition), curve in curves.items():
        solid = definition is Definition.AMAX
        style = {"linewidth": DIRECTION_WIDTHS[direction]} if solid else {"linewidth": 0.8, "linestyle": DASHED}
        colour = DIRECTION_COLOURS[direction]
        if solid or curve != curves[direction, Definition.AMAX]:
            # One site alone has no line to show it.
            marker = "o" if sites == 1 else None
            axes.plot(
                range(1, sites + 1), _heights(curve), color=colour, marker=marker, markersize=4,
                label=f"{direction} {definition}", **style,
            )  # fmt: skip


def _heights(curve: Curve) -> list[float]:
    return [math.nan if isinstance(gain, Huge) or not gain <= LARGEST else gain for gain in curve]
