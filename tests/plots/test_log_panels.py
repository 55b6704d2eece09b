"""Panels of logs: what thinning keeps, what pointing at a curve says, and several runs over each other."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trainlogs import healthy, spiky, write_jsonl

from mhcdiag.plots.log_panels import MOST_BINS, losses_figure, series_figure, series_tips, thinned
from mhcdiag.results.spikes import BinnedCurve
from mhcdiag.usecases.spikes import spikes


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(0, 9)), min_size=1, max_size=97), st.integers(1, 40))
def test_thinning_keeps_extremes_and_order(values, most):
    curve = BinnedCurve(
        run=tuple(i * 3 // len(values) for i in range(len(values))),
        step=tuple(map(float, range(len(values)))),
        low=tuple(low for low, _ in values),
        high=tuple(low + rise for low, rise in values),
    )
    found = thinned(curve, most=most)
    assert (min(found.low), max(found.high)) == (min(curve.low), max(curve.high))
    assert list(found.step) == sorted(found.step)
    assert set(found.run) == set(curve.run)
    assert len(found.step) <= most + 3


def test_a_single_high_point_of_a_long_series_is_still_drawn(tmp_path):
    loss = healthy(5003)
    loss[4001] = 17.25
    log = spikes(str(write_jsonl(tmp_path / "a.jsonl", loss)))
    assert len(log.series["loss"].curve.step) > MOST_BINS
    (axes,) = series_figure(log, "loss").axes
    assert axes.collections[0].get_paths()[0].vertices[:, 1].max() == 17.25


def test_tips_tell_values_and_events(tmp_path):
    log = spikes(str(write_jsonl(tmp_path / "a.jsonl", spiky())))
    tips = list(series_tips(log, "loss"))
    (event,) = [tip for tip in tips if "spike in loss" in tip.text]
    assert event.left == 501
    assert "deviations" in event.text
    assert tips[0].text.startswith("from step 1\nloss ")
    assert all(a.right <= b.left for a, b in pairwise(tips) if b is not event)


@pytest.mark.parametrize("loss", [np.full(60, np.nan), np.full(61, -2.0)], ids=["nan", "negative"])
def test_odd_series_are_drawn(tmp_path, loss):
    log = spikes(str(write_jsonl(tmp_path / "a.jsonl", loss)))
    low, high = series_figure(log, "loss", log_scale=True).axes[0].get_ylim()
    assert math.isfinite(high - low)
    assert all(tip.text for tip in series_tips(log, "loss"))


def judged(path, loss):
    return spikes(str(write_jsonl(path, loss)))


def test_one_line_per_run_with_its_losses(tmp_path):
    losses = {"a": healthy(seed=1), "b": healthy(seed=2) + 0.5, "c": spiky()}
    figure = losses_figure([judged(tmp_path / f"{name}.jsonl", loss) for name, loss in losses.items()])
    (axes,) = figure.axes
    drawn = {line.get_label(): line for line in axes.get_lines()}
    assert set(drawn) == {"a.jsonl", "b.jsonl", "c.jsonl"}
    assert len({line.get_color() for line in drawn.values()}) == 3
    assert np.mean(drawn["b.jsonl"].get_ydata()) == pytest.approx(np.mean(losses["b"]), rel=0.01)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == sorted(drawn)


def test_a_run_that_explodes_does_not_flatten_the_others(tmp_path):
    loss = healthy()
    loss[700:705] = 1e6
    (axes,) = losses_figure([judged(tmp_path / "a.jsonl", loss), judged(tmp_path / "b.jsonl", healthy())]).axes
    assert axes.get_ylim()[1] < 50


def test_many_runs_are_drawn_and_some_named(tmp_path):
    figure = losses_figure([judged(tmp_path / f"{k:02}.jsonl", healthy(seed=k)) for k in range(23)])
    assert len(figure.axes[0].get_lines()) == 23
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert (names[0], names[-1]) == ("00.jsonl", "22.jsonl")
    assert len(names) < 12


def test_one_run_is_nothing_to_compare(tmp_path):
    with pytest.raises(ValueError, match="at least two logs with a loss, not 1"):
        losses_figure([judged(tmp_path / "a.jsonl", healthy()), judged(tmp_path / "b.jsonl", np.full(20, np.nan))])
