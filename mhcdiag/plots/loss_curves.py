"""The losses of several runs over each other."""

import math
from collections.abc import Iterator, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mhcdiag.plots.axes import site_positions
from mhcdiag.plots.series_panel import thinned
from mhcdiag.plots.sheet import LEFT, RIGHT, WIDTH, Sheet, fitted
from mhcdiag.plots.style import LABEL_SIZE, checkpoint_colours, house_style
from mhcdiag.plots.timeline import run_bins
from mhcdiag.results.spikes import BinnedCurve, LogResult
from mhcdiag.results.wording import distinct_names, short_names

HEIGHT = 1.9
BOTTOM = 0.5
"""Inches below the panel, for its labels."""
NAME_HEIGHT = 0.165
NAME_WIDTH = 1.05
MOST_NAMES = 8
LOSS = "loss"


def losses_figure(logs: Sequence[LogResult], *, width: float = WIDTH) -> Figure:
    """Draw the losses of two or more logs into one panel.

    Of a curve with several values in a bin the middle between the lowest and the highest is drawn. A loss that is
    many times larger than most leaves the panel.

    Parameters
    ----------
    logs
        Reports on logs; those without a loss are left out.
    width
        Inches.

    Raises
    ------
    ValueError
        Fewer than two logs have a loss.
    """
    shown = [log for log in logs if LOSS in log.series and log.series[LOSS].curve.step]
    if len(shown) < 2:
        raise ValueError(f"a comparison needs at least two logs with a loss, not {len(shown)}")
    names = run_names(shown)
    colours = checkpoint_colours(len(shown))
    panel = width - LEFT - RIGHT
    columns = max(1, int(panel / (NAME_WIDTH + 0.45)))
    named = [position - 1 for position in site_positions(len(shown), most=MOST_NAMES)]
    top = 0.2 + NAME_HEIGHT * math.ceil(len(named) / columns)
    with house_style():
        sheet = Sheet(height=top + HEIGHT + BOTTOM, width=width)
        axes = sheet.axes(left=LEFT, top=top, width=panel, height=HEIGHT)
        _draw_losses(axes, shown, names, colours)
        entries = [
            Line2D([], [], color=colours[i], label=fitted(names[i], width=NAME_WIDTH, size=LABEL_SIZE)) for i in named
        ]
        sheet.legend(handles=entries, ncols=columns)
    return sheet.figure


def run_names(logs: Sequence[LogResult]) -> list[str]:
    """Names by which the logs can be told apart."""
    return distinct_names(short_names([log.path for log in logs]))


def _draw_losses(axes: Axes, logs: Sequence[LogResult], names: Sequence[str], colours: Sequence[str]) -> None:
    tops, bottoms = [], []
    for log, name, colour in zip(logs, names, colours, strict=True):
        curve = thinned(log.series[LOSS].curve)
        middles: list[float] = []
        for run, (steps, losses) in zip(run_bins(curve), _lines(curve), strict=True):
            # Only the first run of a log stands in the legend and under the log's name.
            axes.plot(steps, losses, color=colour, linewidth=1.0, label=name if run[0] == 0 else f"_{name}")
            middles += losses
        if middles:
            ordered = sorted(middles)
            bottoms.append(ordered[0])
            tops.append(ordered[min(len(ordered) - 1, int(0.98 * len(ordered)))])
    low, high = min(bottoms, default=0.0), max(tops, default=1.0)
    room = max(high - low, 1e-3 * abs(high), 1e-12)
    axes.set_ylim(low - 0.06 * room, high + 0.5 * room)
    axes.set_ylabel(LOSS)
    axes.set_xlabel("step")
    axes.grid(axis="y")
    axes.margins(x=0.01)


def _lines(curve: BinnedCurve) -> Iterator[tuple[list[float], list[float]]]:
    for run in run_bins(curve):
        yield [curve.step[i] for i in run], [(curve.low[i] + curve.high[i]) / 2 for i in run]
