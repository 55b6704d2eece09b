"""Loss and gradient norm over the steps of a run, with their events."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mhcdiag.results.spikes import Comparison, Curve, Event, Kind, LogResult, SeriesResult

WIDTH = 8.0
PANEL_HEIGHT = 2.4
DOTS_PER_INCH = 200

COLOURS = {
    Kind.NAN: "#C00000",
    Kind.DIVERGENCE: "#D55E00",
    Kind.LOSS_SCALE: "#C00000",
    Kind.SHIFT: "#CC79A7",
    Kind.SPIKE: "#E69F00",
    Kind.BLIP: "#56B4E9",
    Kind.GRADSPIKE: "#009E73",
}
LINE = "#0072B2"

SHARE = 0.99
"""Share of the bins whose height the vertical axis shows; what is higher is marked at the upper edge."""

LABELS = 8
"""Events that are named; more names would cover the curve."""


def timeline_figure(
    results: Sequence[LogResult], *, log_scale: bool = False, comparison: Comparison | None = None
) -> Figure:
    """Return the figure of some logs, one panel per series, and one for the gap where two runs are compared.

    Arguments: results: reports; log_scale: logarithmic values, where all are positive; comparison: the gap.
    """
    panels = [
        (result, name, series)
        for result in results
        for name, series in result.series.items()
        if series.curve.step
    ]
    rows = max(len(panels) + (comparison is not None), 1)
    figure = Figure(figsize=(WIDTH, PANEL_HEIGHT * rows), dpi=DOTS_PER_INCH, layout="constrained")
    for row, (result, name, series) in enumerate(panels):
        axes = figure.add_subplot(rows, 1, row + 1)
        axes.set_title(f"{result.path}: {name}", fontsize=8, loc="left", parse_math=False)
        _draw(axes, series, log_scale=log_scale)
    if comparison is not None:
        _draw_gap(figure.add_subplot(rows, 1, rows), comparison)
    return figure


def _draw(axes: Axes, series: SeriesResult, *, log_scale: bool) -> None:
    curve = series.curve
    if log_scale and min(curve.low) > 0:
        axes.set_yscale("log")
    for run in sorted(set(curve.run)):
        bins = [index for index, one in enumerate(curve.run) if one == run]
        step = [curve.step[index] for index in bins]
        high = [curve.high[index] for index in bins]
        axes.fill_between(
            step, [curve.low[index] for index in bins], high, color=LINE, alpha=0.3, linewidth=0
        )
        axes.plot(step, high, color=LINE, linewidth=0.7)
    top = _clamp(axes, curve)
    for event in series.events:
        axes.axvspan(
            event.start, max(event.end, event.start), color=COLOURS[event.kind], alpha=0.35, linewidth=1
        )
    strongest = sorted(series.events, key=lambda event: -_height(event))[:LABELS]
    for event in strongest:
        axes.annotate(
            str(event.kind),
            (event.peak, top),
            fontsize=6,
            rotation=90,
            ha="right",
            va="top",
            color=COLOURS[event.kind],
            parse_math=False,
        )
    axes.set_xlabel("step", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.margins(x=0.01)


def _clamp(axes: Axes, curve: Curve) -> float:
    """Cut the axis above most of the curve and mark what lies beyond; return its upper end."""
    ordered = sorted(curve.high)
    usual = ordered[min(int(SHARE * len(ordered)), len(ordered) - 1)]
    low = min(curve.low)
    top = usual + 0.25 * (usual - low or abs(usual) or 1.0)
    if ordered[-1] <= top:
        return axes.get_ylim()[1]
    room = 0.05 * (top - low)
    axes.set_ylim(low / 1.1 if axes.get_yscale() == "log" else low - room, top)
    beyond = [step for step, high in zip(curve.step, curve.high, strict=True) if high > top]
    axes.plot(beyond, [top] * len(beyond), "^", color=LINE, markersize=4, clip_on=False)
    return top


def _draw_gap(axes: Axes, comparison: Comparison) -> None:
    title = f"loss of {comparison.path} minus {comparison.other}"
    axes.set_title(title, fontsize=8, loc="left", parse_math=False)
    axes.axhline(0.0, color="#606060", linewidth=0.6)
    axes.plot(comparison.step, comparison.gap, color=LINE, linewidth=0.9)
    if comparison.opens is not None:
        axes.axvline(comparison.opens, color=COLOURS[Kind.DIVERGENCE], linewidth=0.9, linestyle="--")
    axes.set_xlabel("step", fontsize=8)
    axes.tick_params(labelsize=7)


def _height(event: Event) -> float:
    return event.z if event.z == event.z else float("inf")
