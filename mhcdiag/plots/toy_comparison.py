"""Toy models side by side: loss, gradient norm, and composite gain over steps and over sites."""

import math
from collections.abc import Mapping, Sequence
from statistics import median

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mhcdiag.plots.axes import exponents, log_limits, set_log_axis
from mhcdiag.plots.sheet import LEFT, RIGHT, WIDTH, Sheet
from mhcdiag.plots.style import CHECKPOINT_COLOURS, DASHED, DOTTED, GREY, SMALL_SIZE, TITLE_SIZE, house_style
from mhcdiag.results.bands import EXPLODED_GAIN
from mhcdiag.results.gain import Curve, Direction, GainResult, Kind
from mhcdiag.results.toy import ToyRun

PANEL_HEIGHT = 1.8
TOP = 0.95
GAP = 0.95
SMOOTHED = 9
"""Steps whose median is drawn: losses of single small batches are noisy."""
COLOURS = {"residual": GREY, "hc": "#D55E00", "mhc": "#0072B2", "mhc-lite": "#56B4E9", "identity-hc": "#009E73"}


def comparison_figure(runs: Sequence[ToyRun], gains: Mapping[str, GainResult]) -> Figure:
    """Draw four panels, one line per topology.

    Parameters
    ----------
    runs
        One per topology.
    gains
        By topology, measured on captured mappings of the last checkpoint.

    Returns
    -------
    Figure
        8 inches wide.
    """
    with house_style():
        sheet = Sheet(height=TOP + 2 * (PANEL_HEIGHT + GAP))
        width = (WIDTH - 2 * LEFT - RIGHT) / 2
        places = [
            (LEFT + column * (width + LEFT), TOP + row * (PANEL_HEIGHT + GAP)) for row in (0, 1) for column in (0, 1)
        ]
        titles = ("loss (nats)", "gradient norm", "gain of the whole model", "gain up to site l, last checkpoint")
        panels = [sheet.axes(left=left, top=top, width=width, height=PANEL_HEIGHT) for left, top in places]
        for (left, top), title in zip(places, titles, strict=True):
            sheet.text(title, left=left, top=top - 0.24, fontsize=TITLE_SIZE, fontweight="bold")
        _draw_series(panels[0], runs, "loss")
        _draw_series(panels[1], runs, "grad_norm")
        panels[1].set_yscale("log")
        _draw_gains(panels[2], runs)
        _draw_sites(panels[3], gains)
        handles = [panels[0].plot([], [], color=_colour(run, i), label=run.topology)[0] for i, run in enumerate(runs)]
        sheet.figure.legend(handles=handles, loc="upper left", ncols=len(handles), bbox_to_anchor=(0.05, 0.995))
    return sheet.figure


def _draw_series(axes: Axes, runs: Sequence[ToyRun], name: str) -> None:
    for i, run in enumerate(runs):
        steps = [row.step for row in run.rows]
        values = [getattr(row, name) for row in run.rows]
        axes.plot(steps, values, color=_colour(run, i), linewidth=0.4, alpha=0.35)
        smooth = [median(values[max(0, at - SMOOTHED + 1) : at + 1]) for at in range(len(values))]
        axes.plot(steps, smooth, color=_colour(run, i), linewidth=1.3)
    axes.set_xlabel("step", fontsize=SMALL_SIZE)
    axes.grid(axis="y")


def _draw_gains(axes: Axes, runs: Sequence[ToyRun]) -> None:
    drawn: list[Curve] = []
    for i, run in enumerate(runs):
        rows = [row for row in run.rows if row.gain_forward is not None]
        for direction, line in ((Direction.FORWARD, "-"), (Direction.BACKWARD, DASHED)):
            curve = tuple(float(getattr(row, f"gain_{direction}")) for row in rows)
            axes.plot(
                [row.step for row in rows], exponents(curve), color=_colour(run, i), linestyle=line, linewidth=1.2
            )
            drawn.append(curve)
    _finish(axes, drawn, "step (dashed: backward)")


def _draw_sites(axes: Axes, gains: Mapping[str, GainResult]) -> None:
    drawn: list[Curve] = []
    for i, (topology, result) in enumerate(gains.items()):
        for kind, direction, line in (
            (Kind.PREFIX, Direction.FORWARD, "-"),
            (Kind.SUFFIX, Direction.BACKWARD, DASHED),
        ):
            curve = result.curve(kind, direction, "amax")
            colour = COLOURS.get(topology, CHECKPOINT_COLOURS[i])
            axes.plot(range(1, len(curve) + 1), exponents(curve), color=colour, linestyle=line, linewidth=1.2)
            drawn.append(curve)
    _finish(axes, drawn, "site (dashed: backward, sites l to the last)")


def _finish(axes: Axes, drawn: Sequence[Curve], label: str) -> None:
    low, high = log_limits(drawn)
    axes.set_ylim(low, high)
    set_log_axis(axes.yaxis, low, high)
    axes.axhline(math.log10(EXPLODED_GAIN), color="black", linewidth=0.8, linestyle=DOTTED)
    axes.set_xlabel(label, fontsize=SMALL_SIZE)
    axes.grid(axis="y")


def _colour(run: ToyRun, index: int) -> str:
    return COLOURS.get(run.topology, CHECKPOINT_COLOURS[index % len(CHECKPOINT_COLOURS)])
