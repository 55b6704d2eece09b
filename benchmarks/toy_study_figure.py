"""Gain and loss of every run of the study, drawn from the runs' logs."""

from pathlib import Path
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mhcdiag.plots.style import CHECKPOINT_COLOURS, GREY, house_style
from mhcdiag.results.toy import ToyRun
from mhcdiag.toy.settings import ToySettings

SMOOTHED = 20
"""Steps over which the drawn loss is averaged."""
COLOURS = dict(zip(("residual", "hc", "mhc", "identity-hc", "mhc-lite"), CHECKPOINT_COLOURS, strict=False))
Runs = list[tuple[ToySettings, ToyRun]]


def draw(runs: Runs, path: Path) -> None:
    """Columns: learning rates; above the forward gain, below the smoothed loss; one line per seed.

    Only the plain runs are drawn: streams in fp32, no QK-norm, 20 iterations.
    """
    plain = [
        each for each in runs
        if (each[0].stream_dtype, each[0].qk_norm, each[0].sinkhorn_iters) == ("fp32", False, 20)
    ]  # fmt: skip
    rates = sorted({settings.learning_rate for settings, _ in plain})
    with house_style():
        figure = Figure(figsize=(8, 5), layout="constrained")
        panels = figure.subplots(2, len(rates), sharex="col", sharey="row", squeeze=False)
        for column, rate in enumerate(rates):
            own = [each for each in plain if each[0].learning_rate == rate]
            _draw_gain(panels[0][column], own)
            _draw_loss(panels[1][column], own)
            panels[0][column].set_title(f"learning rate {rate:g}")
        panels[0][0].set_ylabel("gain forward (amax)")
        panels[1][0].set_ylabel(f"loss, mean of {SMOOTHED} steps (nats)")
        panels[0][0].legend(loc="upper left")
        figure.savefig(path, dpi=110, metadata={"Software": None})


def _draw_gain(axes: Axes, runs: Runs) -> None:
    for colour, run, label in _coloured(runs):
        rows = [row for row in run.rows if row.gain_forward is not None]
        axes.plot([row.step for row in rows], [row.gain_forward for row in rows], color=colour, label=label)
    axes.set_yscale("log")
    axes.axhline(1000, color=GREY, linewidth=0.6, linestyle=(0, (1, 2)))


def _draw_loss(axes: Axes, runs: Runs) -> None:
    for colour, run, _ in _coloured(runs):
        losses = [row.loss for row in run.rows]
        means = [fmean(losses[max(0, i - SMOOTHED + 1) : i + 1]) for i in range(len(losses))]
        axes.plot([row.step for row in run.rows], means, color=colour, linewidth=0.9)
    axes.set_ylim(2, 5)
    axes.set_xlabel("step")


def _coloured(runs: Runs) -> list[tuple[str, ToyRun, str]]:
    """Colour, run, and the label of the legend: once per topology."""
    found: list[tuple[str, ToyRun, str]] = []
    for settings, run in sorted(runs, key=lambda each: tuple(COLOURS).index(each[0].topology)):
        colour = COLOURS[settings.topology]
        new = all(colour != other for other, *_ in found)
        found.append((colour, run, settings.topology if new else "_"))
    return found
