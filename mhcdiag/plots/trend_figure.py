"""Gain, gradient norm and loss of one run on one axis of steps, with events marked."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mhcdiag.plots.axes import exponents, log_limits, set_log_axis
from mhcdiag.plots.style import DASHED, DIRECTION_COLOURS, DOTTED, GREY, SMALL_SIZE, house_style
from mhcdiag.plots.timeline import draw_series, shade_events, stacked_panels
from mhcdiag.results.bands import LEVELS
from mhcdiag.results.gain import Direction
from mhcdiag.results.numbers import is_finite
from mhcdiag.results.trend import TrendResult

LOG_SERIES = ("grad_norm", "loss")


def trend_figure(result: TrendResult) -> Figure:
    """Draw the gain with its fitted line, and below it what the log says.

    Parameters
    ----------
    result
        The trend; its log is drawn where it has one.

    Returns
    -------
    Figure
        8 inches wide.
    """
    names = [name for name in LOG_SERIES if result.log is not None and name in result.log.series]
    titles = [f"{result.path}: gain ({result.measured})", *names]
    with house_style():
        figure = stacked_panels(titles)
        panels = figure.axes
        _draw_gain(panels[0], result)
        for axes, name in zip(panels[1:], names, strict=True):
            assert result.log is not None
            draw_series(axes, result.log.series[name], name=name, log_scale=name == "grad_norm")
        _share_axis(panels, result)
        if result.log is not None and "loss" in result.log.series:
            shade_events(panels[0], result.log.series["loss"].events)
    return figure


def _draw_gain(axes: Axes, result: TrendResult) -> None:
    steps = [point.step for point in result.points]
    curves = [tuple(point.gain[direction] for point in result.points) for direction in Direction]
    low, high = log_limits(curves)
    axes.set_ylim(low, high)
    set_log_axis(axes.yaxis, low, high)
    marker = "o" if len(steps) <= 40 else None
    for direction, curve in zip(Direction, curves, strict=True):
        colour = DIRECTION_COLOURS[direction]
        axes.plot(steps, exponents(curve), color=colour, marker=marker, markersize=3, linewidth=1.3, label=direction)
        _draw_fit(axes, result, direction)
        _draw_beside(axes, result, direction)
    for level in LEVELS:
        if low < math.log10(level) < high:
            axes.axhline(math.log10(level), color=GREY, linewidth=0.6, linestyle=DOTTED)
    axes.legend(loc="upper left", fontsize=SMALL_SIZE)
    axes.set_xlabel("step")
    axes.grid(axis="y")


def _draw_fit(axes: Axes, result: TrendResult, direction: Direction) -> None:
    growth = result.trends[direction].growth
    fitted = [
        (point.step, exponents((point.gain[direction],))[0])
        for point in result.points
        if growth.first_step <= point.step <= growth.last_step and is_finite(point.gain[direction])
    ]
    if not math.isfinite(growth.rate) or len(fitted) < 2:
        return
    middle = [sum(values) / len(fitted) for values in zip(*fitted, strict=True)]
    line = [middle[1] + growth.rate / math.log(10) * (step - middle[0]) for step, _ in fitted]
    axes.plot([step for step, _ in fitted], line, color=DIRECTION_COLOURS[direction], linewidth=0.8, linestyle=DASHED)


def _draw_beside(axes: Axes, result: TrendResult, direction: Direction) -> None:
    """The same run by another measure: hollow marks without a line."""
    if result.beside is None:
        return
    points = result.beside.points
    logs = exponents(tuple(point.gain[direction] for point in points))
    colour = DIRECTION_COLOURS[direction]
    axes.plot([point.step for point in points], logs, "o", color=colour, markersize=4, fillstyle="none")


def _share_axis(panels: Sequence[Axes], result: TrendResult) -> None:
    ends = [*(axes.get_xlim() for axes in panels[1:]), (result.points[0].step, result.points[-1].step)]
    for axes in panels:
        axes.set_xlim(min(low for low, _ in ends), max(high for _, high in ends))
