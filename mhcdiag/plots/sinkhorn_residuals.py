"""How far the Sinkhorn iteration stayed from a doubly stochastic mapping, site by site."""

from collections.abc import Iterator

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mhcdiag.plots.axes import MARGIN, exponents, set_log_axis, set_site_axis
from mhcdiag.plots.gain_panel import draw_curve
from mhcdiag.plots.inline_svg import Tip
from mhcdiag.plots.sheet import LEFT, NARROW, PANEL_WIDTH, Sheet, drawable
from mhcdiag.plots.style import DIRECTION_COLOURS, house_style
from mhcdiag.results.gain import Curve, Direction, GainResult, SinkhornQuality
from mhcdiag.results.numbers import text

TOP = 0.38
HEIGHT = 1.9
BOTTOM = 0.66
LEAST = 1e-17
"""What an exact sum is drawn as: below the rounding error of float64, and 0 has no logarithm."""


def sinkhorn_figure(result: GainResult) -> Figure:
    """Draw the residual of row sums and of column sums over depth, token means, on a logarithmic axis.

    The residual of a site is the largest |sum - 1| over its rows, or over its columns. The side that is normalised
    last is exact up to rounding; what the other side shows is what more iterations would remove.

    Parameters
    ----------
    result
        A measurement of mappings that Sinkhorn iterations constrain.

    Raises
    ------
    ValueError
        No Sinkhorn iteration constrains these mappings.
    """
    if result.sinkhorn is None:
        raise ValueError(f"layout {result.layout} has no Sinkhorn iteration: there are no residuals to draw")
    sides = _sides(result.sinkhorn)
    drawn = {name: tuple(max(float(value), LEAST) for value in curve) for name, (curve, _) in sides.items()}
    logs = [log for curve in drawn.values() for log in exponents(curve) if log == log]  # noqa: PLR0124 - NaN
    low, high = min(logs, default=-1.0), max(logs, default=0.0)
    margin = max(MARGIN * (high - low), 0.1)
    with house_style():
        sheet = Sheet(height=TOP + HEIGHT + BOTTOM, width=NARROW)
        axes = sheet.axes(left=LEFT, top=TOP, width=PANEL_WIDTH, height=HEIGHT)
        axes.set_ylim(low - margin, high + margin)
        sites = len(result.sites)
        axes.set_xlim(1 - max(0.5, 0.02 * sites), sites + max(0.5, 0.02 * sites))
        set_log_axis(axes.yaxis, low - margin, high + margin)
        set_site_axis(axes.xaxis, sites, length=PANEL_WIDTH, names=result.sites)
        axes.grid(axis="y")
        for name, (_, colour) in sides.items():
            draw_curve(axes, drawn[name], label=name, color=colour, linewidth=1.4)
        axes.set_xlabel("site l")
        axes.set_ylabel("largest |sum − 1| (token mean)")
        axes.yaxis.set_label_coords(-0.56 / PANEL_WIDTH, 0.5)
        entries = [Line2D([], [], color=colour, linewidth=1.4, label=name) for name, (_, colour) in sides.items()]
        sheet.legend(handles=entries, ncols=2)
    return sheet.figure


def sinkhorn_tips(result: GainResult) -> Iterator[Tip]:
    """Both residuals, site by site."""
    if result.sinkhorn is None:
        return
    quality = result.sinkhorn
    for index, site in enumerate(result.sites):
        rows, columns = (text(curve[index]) for curve in (quality.row_residual, quality.column_residual))
        words = f"site {index + 1}: {drawable(site)}\nrow sums off by {rows}\ncolumn sums off by {columns}"
        yield Tip(left=index + 0.5, right=index + 1.5, text=words)


def _sides(quality: SinkhornQuality) -> dict[str, tuple[Curve, str]]:
    """Curve and colour by name; rows make the forward gain, columns the backward one."""
    return {
        "row sums": (quality.row_residual, DIRECTION_COLOURS[Direction.FORWARD]),
        "column sums": (quality.column_residual, DIRECTION_COLOURS[Direction.BACKWARD]),
    }
