"""The worst gain of every checkpoint side by side: which of many stand out, and whether they grow."""

from collections.abc import Iterator, Sequence

from matplotlib.figure import Figure

from mhcdiag.plots.fitted_text import distinct_names, drawable, gain_text, short_names
from mhcdiag.plots.gain_panel import draw_curve, legend_entries, prepare_panel
from mhcdiag.plots.log_axis import log_limits
from mhcdiag.plots.sheet import LEFT, NARROW, PANEL_WIDTH, Sheet
from mhcdiag.plots.site_axis import set_name_axis
from mhcdiag.plots.style import DIRECTION_COLOURS, RED, house_style
from mhcdiag.plots.tips import Tip
from mhcdiag.results.gain import Curve, Definition, Direction, GainResult
from mhcdiag.results.numbers import is_finite

TOP = 0.56
HEIGHT = 1.9
BOTTOM = 0.5
MOST_NAMES = 5
WIDEST_NAME = 0.6


def worst_gains_figure(results: Sequence[GainResult]) -> Figure:
    """Draw the gain of the worst stretch (norm, token mean) of each checkpoint, in the order given.

    NaN and infinity leave a gap, with a red triangle at the top.

    Parameters
    ----------
    results
        At least one measurement.
    """
    curves = {direction: _curve(results, direction) for direction in Direction}
    low, high = log_limits(curves.values())
    with house_style():
        sheet = Sheet(height=TOP + HEIGHT + BOTTOM, width=NARROW)
        axes = sheet.axes(left=LEFT, top=TOP, width=PANEL_WIDTH, height=HEIGHT)
        prepare_panel(axes, sites=len(results), limits=(low, high + 0.05 * (high - low)))
        for direction, curve in curves.items():
            width = 1.9 if direction is Direction.FORWARD else 1.1
            colour = DIRECTION_COLOURS[direction]
            draw_curve(axes, curve, label=f"{direction} amax", color=colour, linewidth=width)
        broken = [i for i, gains in enumerate(zip(*curves.values(), strict=True), 1) if not all(map(is_finite, gains))]
        if broken:
            top = axes.get_xaxis_transform()
            axes.plot(broken, [0.96] * len(broken), "^", color=RED, markersize=5, transform=top, label="broken")
        set_name_axis(axes.xaxis, _names(results), most=MOST_NAMES, width=WIDEST_NAME)
        axes.set_xlabel("checkpoint")
        axes.set_ylabel("worst gain (norm, token mean)")
        axes.yaxis.set_label_coords(-0.5 / PANEL_WIDTH, 0.5)
        sheet.legend(handles=legend_entries([axes]), ncols=2)
    return sheet.figure


def worst_gains_tips(results: Sequence[GainResult]) -> Iterator[Tip]:
    """Name and worst gains of every checkpoint."""
    for index, (name, result) in enumerate(zip(_names(results), results, strict=True)):
        gains = [f"{each} {gain_text(result.worst[each, Definition.NORM].value)}" for each in Direction]
        yield Tip(left=index + 0.5, right=index + 1.5, text="\n".join([drawable(name), *gains]))


def _curve(results: Sequence[GainResult], direction: Direction) -> Curve:
    return tuple(result.worst[direction, Definition.NORM].value for result in results)


def _names(results: Sequence[GainResult]) -> list[str]:
    return distinct_names(short_names([result.path for result in results]))
