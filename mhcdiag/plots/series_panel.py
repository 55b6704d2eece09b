"""One series of one log in a figure of its own, small enough for a page."""

import math
from collections.abc import Iterator
from dataclasses import replace

from matplotlib.figure import Figure

from mhcdiag.plots.inline_svg import MOST_BANDS, Tip
from mhcdiag.plots.sheet import LEFT, NARROW, PANEL_WIDTH, Sheet
from mhcdiag.plots.style import house_style
from mhcdiag.plots.timeline import draw_series, run_bins
from mhcdiag.results.numbers import text
from mhcdiag.results.spikes import BinnedCurve, Event, LogResult
from mhcdiag.results.wording import step_text

TOP = 0.3
HEIGHT = 1.9
BOTTOM = 0.5
MOST_BINS = 640
"""Bins of a drawn curve: about two per pixel of the panel; each keeps its lowest and highest value."""


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


def _event_words(event: Event, name: str) -> str:
    steps = " to ".join(dict.fromkeys(map(step_text, (event.start, event.end))))
    size = "" if math.isnan(event.z) else f", {event.z:.1f} deviations"
    return f"{event.kind} in {name}, step {steps}\n{_value_text(event.value)} from {_value_text(event.baseline)}{size}"


def _value_text(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return ("-" if value < 0 else "") + text(abs(value))
