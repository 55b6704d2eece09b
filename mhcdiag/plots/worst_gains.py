"""The worst gain of every checkpoint side by side: which of many stand out, and whether they grow."""

from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mhcdiag.plots.axes import log_limits, set_name_axis
from mhcdiag.plots.gain_panel import draw_curve, legend_entries, prepare_panel
from mhcdiag.plots.inline_svg import Tip
from mhcdiag.plots.sheet import LEFT, NARROW, PANEL_WIDTH, Sheet, drawable, gain_text
from mhcdiag.plots.style import DIRECTION_COLOURS, DIRECTION_LABELS, RED, house_style
from mhcdiag.results.gain import Curve, Definition, Direction, GainResult
from mhcdiag.results.numbers import is_finite
from mhcdiag.results.wording import distinct_names, short_names

TOP = 0.56
HEIGHT = 1.9
BOTTOM = 0.5
MOST_NAMES = 5
WIDEST_NAME = 1.4
NARROWEST_NAME = 0.6
MANY = 5
"""Checkpoints from which on they are joined by a line: fewer are rarely the steps of one run."""


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
        line = "solid" if len(results) >= MANY else "none"
        for direction, curve in curves.items():
            # Forward is drawn larger below, so that it shows as a ring where both are equal.
            size = 6.5 if direction is Direction.FORWARD else 4.0
            draw_curve(axes, curve, label=direction, color=DIRECTION_COLOURS[direction], linewidth=0.9, linestyle=line)
            axes.get_lines()[-1].set(marker="o", markersize=size, markevery=None)
        broken = [i for i, gains in enumerate(zip(*curves.values(), strict=True), 1) if not all(map(is_finite, gains))]
        if broken:
            top = axes.get_xaxis_transform()
            axes.plot(broken, [0.96] * len(broken), "^", color=RED, markersize=5, transform=top, label="broken")
        room = min(WIDEST_NAME, max(NARROWEST_NAME, PANEL_WIDTH / len(results) - 0.15))
        set_name_axis(axes.xaxis, _names(results), most=MOST_NAMES, width=room)
        axes.set_xlabel("checkpoint")
        axes.set_ylabel("worst gain (norm, token mean)")
        axes.yaxis.set_label_coords(-0.5 / PANEL_WIDTH, 0.5)
        sheet.legend(handles=[*_entries(), *legend_entries([axes])], ncols=2)
    return sheet.figure


def worst_gains_tips(results: Sequence[GainResult]) -> Iterator[Tip]:
    """Name and worst gains of every checkpoint."""
    for index, (name, result) in enumerate(zip(_names(results), results, strict=True)):
        gains = [f"{each} {gain_text(result.worst[each, Definition.NORM].value)}" for each in Direction]
        yield Tip(left=index + 0.5, right=index + 1.5, text="\n".join([drawable(name), *gains]))


def _entries() -> list[Line2D]:
    dot: dict[str, Any] = {"marker": "o", "markersize": 5, "linestyle": "none"}
    return [Line2D([], [], color=DIRECTION_COLOURS[each], label=DIRECTION_LABELS[each], **dot) for each in Direction]


def _curve(results: Sequence[GainResult], direction: Direction) -> Curve:
    return tuple(result.worst[direction, Definition.NORM].value for result in results)


def _names(results: Sequence[GainResult]) -> list[str]:
    return distinct_names(short_names([result.path for result in results]))
