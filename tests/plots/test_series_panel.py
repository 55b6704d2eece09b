"""One series in a figure of its own: what thinning keeps, and what pointing at it says."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trainlogs import healthy, spiky, write_jsonl

from mhcdiag.plots.series_panel import MOST_BINS, series_figure, series_tips, thinned
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
