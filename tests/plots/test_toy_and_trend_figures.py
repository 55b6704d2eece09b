"""Figures of toy models and trends draw what the records say."""

import math

from matplotlib.colors import to_hex

from mhcdiag.plots.toy_comparison import COLOURS, comparison_figure
from mhcdiag.plots.trend_figure import trend_figure
from mhcdiag.results.gain import Direction
from mhcdiag.results.toy import StepRow, ToyRun
from mhcdiag.results.trend import DirectionTrend, Growth, Source, TrendPoint, TrendResult


def toy_run(topology: str, rate: float) -> ToyRun:
    rows = tuple(
        StepRow(
            step=step,
            loss=3.0 - 0.01 * step,
            grad_norm=1.0,
            learning_rate=0.1,
            gain_forward=math.exp(rate * step) if step % 5 == 0 else None,
            gain_backward=1.0 if step % 5 == 0 else None,
        )
        for step in range(1, 31)
    )
    return ToyRun(path=topology, topology=topology, seed=0, rows=rows, nan_step=None, seconds=1.0)


def test_each_topology_has_its_colour_and_its_own_gains():
    figure = comparison_figure([toy_run("hc", 0.3), toy_run("mhc", 0.0)], {})
    gain = figure.axes[2]
    drawn = {
        to_hex(line.get_color()).lower(): list(line.get_ydata()) for line in gain.lines if line.get_linestyle() == "-"
    }
    assert drawn[COLOURS["hc"].lower()][-1] == math.log10(math.exp(0.3 * 30))
    assert set(drawn[COLOURS["mhc"].lower()]) == {0.0}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["hc", "mhc"]


def test_a_trend_draws_both_directions_and_the_fitted_line():
    points = tuple(
        TrendPoint(step=step, source="x", gain={Direction.FORWARD: 2.0**step, Direction.BACKWARD: math.nan})
        for step in range(1, 8)
    )
    lines = {
        way: DirectionTrend(
            growth=Growth(rate=rate, low=rate, high=rate, points=7, first_step=1, last_step=7),
            crossings=(),
            newest=1.0,
            peak=1.0,
            peak_step=1,
        )
        for way, rate in ((Direction.FORWARD, math.log(2)), (Direction.BACKWARD, math.nan))
    }
    result = TrendResult(
        path="run", source=Source.LOG, points=points, trends=lines, drivers={}, stream_rms=None, log=None, skipped=(),
        notes=(),
    )  # fmt: skip
    axes = trend_figure(result).axes[0]
    fitted = [line for line in axes.lines if len(line.get_xdata()) == 7 and line.get_marker() == "None"]
    assert len(fitted) == 1, "nothing can be fitted to the backward direction"
    assert fitted[0].get_ydata()[-1] == 7 * math.log10(2)
