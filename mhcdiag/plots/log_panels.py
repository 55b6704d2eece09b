"""Curves of logs in one panel, small enough for a page: one series with its events, or the losses of several runs."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mhcdiag.plots.axes import site_positions
from mhcdiag.plots.inline_svg import MOST_BANDS, Tip
from mhcdiag.plots.sheet import LEFT, NARROW, PANEL_WIDTH, Sheet, fitted
from mhcdiag.plots.style import LABEL_SIZE, checkpoint_colours, house_style
from mhcdiag.plots.timeline import draw_series, run_bins
from mhcdiag.results.numbers import text
from mhcdiag.results.spikes import BinnedCurve, Event, LogResult
from mhcdiag.results.wording import distinct_names, short_names, step_text

TOP = 0.3
HEIGHT = 1.9
BOTTOM = 0.5
MOST_BINS = 640
"""Bins of a drawn curve: about two per pixel of the panel; each keeps its lowest and highest value."""
NAME_HEIGHT = 0.165
NAME_WIDTH = 1.05
"""Inches of one entry in the legend of runs."""
MOST_NAMES = 8
"""Runs that the legend names; of more, evenly spaced ones."""
LOSS = "loss"


def series_figure(log: LogResult, name: str, *, log_scale: bool = False) -> Figure:
    """Draw one series over the steps, with its events.

    Parameters
    ----------
    log
        The report on a log.
    name
        Name of the series: "loss", "grad_norm".
    log_scale
        Logarithmic axis, unless the series is not positive.

    Returns
    -------
    Figure
        About 4 inches wide.
    """
    series = log.series[name]
    with house_style():
        sheet = Sheet(height=TOP + HEIGHT + BOTTOM, width=NARROW)
        axes = sheet.axes(left=LEFT, top=TOP, width=PANEL_WIDTH, height=HEIGHT)
        draw_series(axes, replace(series, curve=thinned(series.curve)), name=name, log_scale=log_scale)
        axes.yaxis.set_label_coords(-0.54 / PANEL_WIDTH, 0.5)
    return sheet.figure


def series_tips(log: LogResult, name: str) -> Iterator[Tip]:
    """The range of the series stretch by stretch, and above it the events."""
    curve = thinned(log.series[name].curve, most=MOST_BANDS)
    for run in run_bins(curve):
        ends = [*(curve.step[i] for i in run[1:]), curve.step[run[-1]]]
        for i, end in zip(run, ends, strict=True):
            low, high = _value_text(curve.low[i]), _value_text(curve.high[i])
            values = low if low == high else f"{low} to {high}"
            yield Tip(left=curve.step[i], right=end, text=f"from step {step_text(curve.step[i])}\n{name} {values}")
    for event in log.series[name].events:
        yield Tip(left=event.start, right=event.end, text=_event_words(event, name))


def thinned(curve: BinnedCurve, *, most: int = MOST_BINS) -> BinnedCurve:
    """The curve in at most about `most` bins: neighbours of one run are joined, lowest and highest values stay."""
    width = math.ceil(len(curve.step) / most)
    if width <= 1:
        return curve
    groups = [run[at : at + width] for run in run_bins(curve) for at in range(0, len(run), width)]
    return BinnedCurve(
        run=tuple(curve.run[group[0]] for group in groups),
        step=tuple(curve.step[group[0]] for group in groups),
        low=tuple(min(curve.low[i] for i in group) for group in groups),
        high=tuple(max(curve.high[i] for i in group) for group in groups),
    )


def losses_figure(logs: Sequence[LogResult]) -> Figure:
    """Draw the losses of two or more logs into one panel.

    Of a curve with several values in a bin the middle between the lowest and the highest is drawn. A loss that is
    many times larger than most leaves the panel.

    Parameters
    ----------
    logs
        Reports on logs; those without a loss are left out.

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
    columns = max(1, int(PANEL_WIDTH / (NAME_WIDTH + 0.45)))
    named = [position - 1 for position in site_positions(len(shown), most=MOST_NAMES)]
    top = 0.2 + NAME_HEIGHT * math.ceil(len(named) / columns)
    with house_style():
        sheet = Sheet(height=top + HEIGHT + BOTTOM, width=NARROW)
        axes = sheet.axes(left=LEFT, top=top, width=PANEL_WIDTH, height=HEIGHT)
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


def _event_words(event: Event, name: str) -> str:
    steps = " to ".join(dict.fromkeys(map(step_text, (event.start, event.end))))
    size = "" if math.isnan(event.z) else f", {event.z:.1f} deviations"
    return f"{event.kind} in {name}, step {steps}\n{_value_text(event.value)} from {_value_text(event.baseline)}{size}"


def _value_text(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return ("-" if value < 0 else "") + text(abs(value))
