"""The pictures of a page, drawn from the records of a check or a trend."""

import io
from collections.abc import Collection, Iterator
from itertools import count

from mhcdiag.plots.depth_profile import Scale, depth_figure, depth_tips
from mhcdiag.plots.gain_panel import GainPanel, peak
from mhcdiag.plots.inline_svg import inline_svg
from mhcdiag.plots.log_panels import losses_figure, series_figure, series_tips
from mhcdiag.plots.mapping_matrices import WHOLE, matrix_figure, matrix_tips, worst_sites
from mhcdiag.plots.sinkhorn_residuals import sinkhorn_figure, sinkhorn_tips
from mhcdiag.plots.span_heatmap import span_figure
from mhcdiag.plots.style import SAVE_OPTIONS, house_style
from mhcdiag.plots.timeline import ordered_series
from mhcdiag.plots.trend_figure import trend_figure
from mhcdiag.plots.worst_gains import worst_gains_figure, worst_gains_tips
from mhcdiag.reports.html.parts import Picture, Pictures, Slot
from mhcdiag.results.check import CheckReport
from mhcdiag.results.gain import Definition, Direction, GainResult, Matrix
from mhcdiag.results.numbers import text
from mhcdiag.results.spikes import LogResult
from mhcdiag.results.trend import TrendResult

DOTS_PER_INCH = 160
PANEL_TITLES = {GainPanel.SINGLE: "Single sites", GainPanel.COMPOSITE: "Composite"}
SPAN_SLOTS = {Direction.FORWARD: Slot.FORWARD_SPANS, Direction.BACKWARD: Slot.BACKWARD_SPANS}
MOST_SERIES = 6
"""Series of one log that are drawn; the loss and the gradient norm come first."""


def draw_pictures(report: CheckReport, *, full: Collection[int], some: Collection[int]) -> Pictures:
    """Draw the inputs of a check, and what compares them.

    Parameters
    ----------
    report
        The check.
    full
        Positions of the inputs of which everything is drawn.
    some
        Positions of the inputs of which something is drawn.
    """
    # Identifiers inside an SVG are global to the page, so each picture gets a number of its own.
    numbers = count(1)
    drawn = []
    for place, one in enumerate(report.inputs):
        pictures: Iterator[Picture] = iter(())
        if place not in some:
            pass
        elif isinstance(one.result, GainResult):
            pictures = _gain_pictures(one.result, numbers, full=place in full)
        elif isinstance(one.result, LogResult):
            pictures = _log_pictures(one.result, numbers, full=place in full)
        drawn.append(tuple(pictures))
    return Pictures(of_inputs=tuple(drawn), overview=tuple(_overview(report, numbers)))


def draw_trend(result: TrendResult) -> Picture:
    """Draw gain, gradient norm and loss over the steps of one run."""
    return Picture(
        slot=Slot.TREND,
        title="",
        alt="gain, and gradient norm and loss where a log was given, over steps",
        caption="Dashed: the fitted line; dotted: gains of 3, 30 and 1000. Coloured bands are events of the log.",
        svg=inline_svg(trend_figure(result), prefix="trend"),
    )


def _gain_pictures(result: GainResult, numbers: Iterator[int], *, full: bool) -> Iterator[Picture]:
    if not full:
        yield _depth(result, GainPanel.COMPOSITE, Scale.LOG, next(numbers))
        return
    for scale in Scale:
        for panel in GainPanel:
            yield _depth(result, panel, scale, next(numbers))
    for direction in Direction if result.mean_mappings else ():
        yield _spans(result, direction)
    if result.mean_mappings:
        for site in worst_sites(result):
            yield _mapping(result.mean_mappings[site], result.sites[site], next(numbers))
        yield _mapping(result.mean_composite, WHOLE, next(numbers))
    if result.sinkhorn is not None:
        yield Picture(
            slot=Slot.SINKHORN,
            title="Residual of the sums by site",
            alt="Curves over depth: how far row sums and column sums of each site are from 1, logarithmic; "
            "the numbers stand in the table of sites.",
            caption="Largest |sum − 1| over the rows or columns of a site, token mean.",
            svg=inline_svg(sinkhorn_figure(result), prefix=f"f{next(numbers)}", tips=list(sinkhorn_tips(result))),
        )


def _depth(result: GainResult, panel: GainPanel, scale: Scale, number: int) -> Picture:
    curves = {direction: result.curve(panel.kind(direction), direction, Definition.AMAX) for direction in Direction}
    peaks = ", ".join(f"{direction} up to {peak(curve)}" for direction, curve in curves.items())
    words = "linear" if scale is Scale.LINEAR else "logarithmic"
    figure, tips = depth_figure(result, panel, scale=scale), list(depth_tips(result, panel))
    return Picture(
        slot=Slot.GAIN if scale is Scale.LOG else Slot.GAIN_LINEAR,
        title=f"{PANEL_TITLES[panel]}, {words}",
        alt=f"Curves of the gain of {PANEL_TITLES[panel].lower()} over {len(result.sites)} sites, {words} scale: "
        f"{peaks} (amax, token mean).",
        caption="",
        svg=inline_svg(figure, prefix=f"f{number}", tips=tips),
    )


def _spans(result: GainResult, direction: Direction) -> Picture:
    buffer = io.BytesIO()
    with house_style():
        figure = span_figure(result, direction)
        figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, **SAVE_OPTIONS[".png"])
    worst = result.worst[direction, Definition.NORM]
    return Picture(
        slot=SPAN_SLOTS[direction],
        title=f"{direction.capitalize()} gain from site a to site b",
        alt=f"Heat map of the {direction} gain of every stretch of sites; the worst, {text(worst.value)}, is from "
        f"{worst.from_site} to {worst.to_site}. The ten worst stand in the table beside it.",
        caption="",
        png=buffer.getvalue(),
    )


def _mapping(matrix: Matrix, name: str, number: int) -> Picture:
    rows = "; ".join(", ".join(f"{entry:.3g}" for entry in row) for row in matrix) if len(matrix) <= 8 else "large"
    return Picture(
        slot=Slot.MAPPING,
        title="",
        alt=f"Token-mean mapping, {name}, row by row: {rows}.",
        caption="",
        svg=inline_svg(matrix_figure(matrix, name=name), prefix=f"f{number}", tips=list(matrix_tips(matrix))),
    )


def _log_pictures(log: LogResult, numbers: Iterator[int], *, full: bool) -> Iterator[Picture]:
    drawable = [name for name in ordered_series(log) if log.series[name].curve.step]
    for name in drawable[: MOST_SERIES if full else 1]:
        events = log.series[name].events
        yield Picture(
            slot=Slot.SERIES,
            title=name,
            alt=f"Curve of {name} over the steps of the log, with {len(events)} events, listed in the table of events.",
            caption="",
            svg=inline_svg(series_figure(log, name), prefix=f"f{next(numbers)}", tips=list(series_tips(log, name))),
        )


def _overview(report: CheckReport, numbers: Iterator[int]) -> Iterator[Picture]:
    checkpoints = [one.result for one in report.inputs if isinstance(one.result, GainResult)]
    if len(checkpoints) > 1:
        tips = list(worst_gains_tips(checkpoints))
        yield Picture(
            slot=Slot.COMPARISON,
            title="Worst gain of each checkpoint",
            alt=f"The worst forward and backward gain of {len(checkpoints)} checkpoints, in the order of the table.",
            caption="",
            svg=inline_svg(worst_gains_figure(checkpoints), prefix=f"f{next(numbers)}", tips=tips),
        )
    logs = [one.result for one in report.inputs if isinstance(one.result, LogResult)]
    comparable = [log for log in logs if "loss" in log.series and log.series["loss"].curve.step]
    if len(comparable) > 1:
        yield Picture(
            slot=Slot.COMPARISON,
            title="All losses",
            alt=f"The loss curves of {len(comparable)} logs over their steps, in one panel.",
            caption="",
            svg=inline_svg(losses_figure(comparable), prefix=f"f{next(numbers)}"),
        )
