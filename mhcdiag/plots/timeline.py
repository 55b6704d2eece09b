"""Loss and gradient norm over the steps of training logs, with their events, and the gap between two runs.

Curves come thinned to a smallest and a largest value per bin (`results.spikes.Curve`), so that a log of a million
points draws at once and no spike is lost.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import groupby

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mhcdiag.plots.sheet import LEFT, RIGHT, WIDTH, Sheet
from mhcdiag.plots.style import GREY, LABEL_SIZE, RED, SMALL_SIZE, TITLE_SIZE, house_style
from mhcdiag.results.numbers import text
from mhcdiag.results.spikes import KINDS_BY_SEVERITY, BinnedCurve, Comparison, Event, EventKind, LogResult, SeriesResult

KIND_COLOURS = {
    EventKind.NAN: RED,
    EventKind.DIVERGENCE: "#D55E00",
    EventKind.LOSS_SCALE: "#000000",
    EventKind.RANK: "#8B4513",
    EventKind.ISOLATED_NAN: "#B22222",
    EventKind.SHIFT: "#CC79A7",
    EventKind.SPIKE: "#E69F00",
    EventKind.BLIP: "#56B4E9",
    EventKind.GRADSPIKE: "#009E73",
}
CURVE_COLOUR = "#0072B2"
MAIN_SERIES = ("loss", "grad_norm")
LABELS = 12
"""Events that are named; all are shaded, but more names would cover each other."""

PANEL_HEIGHT = 1.7
TOP = 0.62
GAP = 0.95


def timeline_figure(
    logs: Sequence[LogResult], *, log_scale: bool = False, comparison: Comparison | None = None
) -> Figure:
    """Draw one panel per series and log; below them the losses of two runs, and the gap between them.

    Parameters
    ----------
    logs
        At least one report on a log.
    log_scale
        Logarithmic axes; a series that is not positive stays linear, and its axis says so.
    comparison
        The losses of two runs and their gap.
    """
    shown = [(log, name) for log in logs for name in ordered_series(log)]
    titles = [f"{log.path}: {name}" for log, name in shown]
    if comparison is not None:
        titles += [f"{what}: {comparison.path} against {comparison.other}" for what in ("loss", "loss gap")]
    with house_style():
        figure = stacked_panels(titles)
        for axes, (log, name) in zip(figure.axes, shown, strict=False):
            draw_series(axes, log.series[name], name=name, log_scale=log_scale)
        if comparison is not None:
            _draw_losses(figure.axes[-2], comparison)
            _draw_gap(figure.axes[-1], comparison)
    return figure


def stacked_panels(titles: Sequence[str]) -> Figure:
    """Make a figure of empty panels below each other, as wide as the page, each with its title above it."""
    sheet = Sheet(height=TOP + len(titles) * (PANEL_HEIGHT + GAP))
    for place, title in enumerate(titles):
        top = TOP + place * (PANEL_HEIGHT + GAP)
        sheet.axes(left=LEFT, top=top, width=WIDTH - LEFT - RIGHT, height=PANEL_HEIGHT)
        sheet.text(title, left=LEFT, top=top - 0.42, fontsize=TITLE_SIZE, fontweight="bold")
    return sheet.figure


def ordered_series(log: LogResult) -> list[str]:
    """The main loss and the gradient norm, then whatever else was judged."""
    return sorted(
        log.series, key=lambda name: (name not in MAIN_SERIES, MAIN_SERIES.index(name) if name in MAIN_SERIES else 0)
    )


def draw_series(axes: Axes, series: SeriesResult, *, name: str, log_scale: bool) -> None:
    """Draw one series of a log with its events.

    Parameters
    ----------
    axes
        An empty panel.
    series
        The curve and its events.
    name
        Stands beside the axis.
    log_scale
        Logarithmic, if all values are positive.
    """
    curve = series.curve
    finite = [value for value in (*curve.low, *curve.high) if math.isfinite(value)]
    logarithmic = log_scale and bool(finite) and min(finite) > 0
    low, high = _limits(curve)
    for run in run_bins(curve):
        steps = [curve.step[i] for i in run]
        # Each bin is drawn from its lowest to its highest value: a line through means would hide a spike of one step.
        axes.fill_between(
            steps, [curve.low[i] for i in run], [curve.high[i] for i in run], color=CURVE_COLOUR, linewidth=0.9
        )
        if run[0]:
            axes.axvline(steps[0], color=GREY, linewidth=0.6, linestyle=":")
    if logarithmic:
        axes.set_yscale("log")
    axes.set_ylim(low, high)
    _mark_clamped(axes, curve, high)
    shade_events(axes, series.events)
    axes.set_xlabel("step")
    axes.set_ylabel(name if logarithmic or not log_scale else f"{name} (linear: not positive)", parse_math=False)
    axes.grid(axis="y")
    axes.margins(x=0.01)


def run_bins(curve: BinnedCurve) -> Iterator[list[int]]:
    """Indices of the bins of each run, bins without a finite value left out."""
    for _, group in groupby(range(len(curve.step)), key=lambda i: curve.run[i]):
        bins = [i for i in group if math.isfinite(curve.low[i]) and math.isfinite(curve.high[i])]
        if bins:
            yield bins


def _limits(curve: BinnedCurve) -> tuple[float, float]:
    """Limits that one spike cannot flatten: beyond four times the range of the middle 98 % the curve is clamped."""
    lows = sorted(value for value in curve.low if math.isfinite(value))
    highs = sorted(value for value in curve.high if math.isfinite(value))
    if not lows:
        return 0.0, 1.0
    bottom, usual_top = lows[0], highs[min(len(highs) - 1, int(0.98 * len(highs)))]
    room = max(usual_top - bottom, 1e-3 * abs(usual_top), 1e-12)
    top = min(highs[-1], usual_top + 3 * room)
    margin = 0.06 * max(top - bottom, room)
    return (bottom - margin if bottom <= 0 or bottom > 2 * margin else 0.5 * bottom), top + margin


def _mark_clamped(axes: Axes, curve: BinnedCurve, high: float) -> None:
    """A triangle with the value where the curve leaves the panel; the highest of each stretch only."""
    outside = [i for i, value in enumerate(curve.high) if math.isfinite(value) and value > high]
    for _, group in groupby(enumerate(outside), key=lambda pair: pair[1] - pair[0]):
        peak = max((i for _, i in group), key=lambda i: curve.high[i])
        axes.plot([curve.step[peak]], [high], marker="^", color=RED, markersize=4, clip_on=False, gid="clamped")
        axes.annotate(
            text(curve.high[peak], digits=3), (curve.step[peak], high), xytext=(4, -1), textcoords="offset points",
            fontsize=SMALL_SIZE, va="top", color=RED,
        )  # fmt: skip


def shade_events(axes: Axes, events: Sequence[Event]) -> None:
    """Shade the stretches of events and name those that have room."""
    by_severity = sorted(
        events, key=lambda event: (KINDS_BY_SEVERITY.index(event.kind), -event.z if event.z == event.z else 0)
    )
    left, right = axes.get_xlim()
    free: list[float] = []
    for event in by_severity:
        colour = KIND_COLOURS[event.kind]
        axes.axvspan(event.start, max(event.end, event.start), color=colour, alpha=0.35, linewidth=0.8, gid=event.kind)
        near = any(abs(event.start - other) < 0.09 * (right - left) for other in free)
        if len(free) < LABELS and not near:
            free.append(event.start)
            axes.annotate(
                event.kind, (event.start, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 2),
                textcoords="offset points", fontsize=SMALL_SIZE, color=colour, ha="left", va="bottom",
            )  # fmt: skip
        if event.kind is EventKind.NAN:
            axes.plot(
                [event.start],
                [0.97],
                transform=axes.get_xaxis_transform(),
                marker="v",
                color=RED,
                markersize=4,
                gid="nan",
            )


def _draw_losses(axes: Axes, comparison: Comparison) -> None:
    for name, values, colour in (
        (comparison.other, comparison.other_loss, GREY),
        (comparison.path, comparison.loss, CURVE_COLOUR),
    ):
        axes.plot(comparison.step, values, color=colour, linewidth=1.0, label=name)
    curve = BinnedCurve(
        run=(0,) * len(comparison.step),
        step=comparison.step,
        low=tuple(map(min, comparison.loss, comparison.other_loss)),
        high=tuple(map(max, comparison.loss, comparison.other_loss)),
    )
    axes.set_ylim(*_limits(curve))
    _mark_opening(axes, comparison)
    axes.legend(loc="upper right", fontsize=SMALL_SIZE)
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.grid(axis="y")


def _draw_gap(axes: Axes, comparison: Comparison) -> None:
    """Draw the gap between two losses, and where it opens."""
    axes.plot(comparison.step, comparison.gap, color=CURVE_COLOUR, linewidth=1.2)
    axes.axhline(0.0, color=GREY, linewidth=0.7)
    _mark_opening(axes, comparison)
    axes.set_xlabel("step")
    axes.set_ylabel("gap (smoothed)")
    axes.grid(axis="y")


def _mark_opening(axes: Axes, comparison: Comparison) -> None:
    if comparison.opens is None:
        return
    axes.axvline(comparison.opens, color=RED, linewidth=0.9, linestyle="--", gid="opens")
    axes.annotate(
        f"opens at {comparison.opens:,.0f}", (comparison.opens, 1.0), xycoords=("data", "axes fraction"),
        xytext=(0, 2), textcoords="offset points", fontsize=LABEL_SIZE, color=RED, ha="left", va="bottom",
    )  # fmt: skip
