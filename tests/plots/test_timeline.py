"""The timeline: curves, limits, events and the gap, by their data."""

import numpy as np
import pytest
from trainlogs import healthy, spiky, write_jsonl

from mhcdiag.plots.timeline import timeline_figure
from mhcdiag.usecases.options import LogOptions
from mhcdiag.usecases.spikes import compare, spikes


def result(path, loss, **others):
    return spikes(str(write_jsonl(path, loss, **others)))


def test_one_panel_per_series_the_loss_first(tmp_path):
    figure = timeline_figure([result(tmp_path / "a.jsonl", spiky(), grad_norm=np.full(800, 0.5))])
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "grad_norm"]


def test_events_are_shaded_over_their_steps_and_named(tmp_path):
    (axes,) = timeline_figure([result(tmp_path / "a.jsonl", spiky())]).axes
    (span,) = [patch for patch in axes.patches if patch.get_gid() == "spike"]
    left, right = span.get_xy()[0], span.get_xy()[0] + span.get_width()
    assert left == 501
    assert 501 < right < 525
    assert "spike" in [text.get_text() for text in axes.texts]


def test_a_tall_spike_is_clamped_and_marked_with_its_value(tmp_path):
    loss = healthy()
    loss[500:503] += 500
    (axes,) = timeline_figure([result(tmp_path / "a.jsonl", loss)]).axes
    assert axes.get_ylim()[1] < 50
    assert [line for line in axes.lines if line.get_gid() == "clamped"]
    assert any(text.get_text().startswith("503") for text in axes.texts)


def test_nan_is_marked_at_its_step(tmp_path):
    loss = healthy()
    loss[600:] = np.nan
    (axes,) = timeline_figure([result(tmp_path / "a.jsonl", loss)]).axes
    (mark,) = [line for line in axes.lines if line.get_gid() == "nan"]
    assert mark.get_xdata()[0] == 601


@pytest.mark.parametrize(
    ("shift", "scale", "label"), [(0.0, "log", "loss"), (-3.0, "linear", "loss (linear: not positive)")]
)
def test_a_log_axis_where_there_can_be_one(tmp_path, shift: float, scale: str, label: str):
    (axes,) = timeline_figure([result(tmp_path / "a.jsonl", healthy() + shift)], log_scale=True).axes
    assert (axes.get_yscale(), axes.get_ylabel()) == (scale, label)


@pytest.mark.parametrize("loss", [np.full(60, 2.0), np.full(60, np.nan)], ids=["constant", "nan"])
def test_odd_series_are_drawn(tmp_path, loss):
    (axes,) = timeline_figure([result(tmp_path / "a.jsonl", loss)]).axes
    low, high = axes.get_ylim()
    assert low < high


def test_the_gap_of_two_runs_and_where_it_opens(tmp_path):
    loss = healthy(seed=1)
    loss[500:] += 0.3
    first, second = write_jsonl(tmp_path / "a.jsonl", loss), write_jsonl(tmp_path / "b.jsonl", healthy())
    comparison = compare(str(first), str(second), LogOptions())
    figure = timeline_figure([spikes(str(first))], comparison=comparison)
    losses, gap = figure.axes[-2:]
    theirs, ours = losses.lines[:2]
    np.testing.assert_allclose(ours.get_ydata() - theirs.get_ydata(), loss - healthy(), atol=1e-4)
    assert [text.get_text() for text in losses.get_legend().get_texts()] == [str(second), str(first)]
    assert gap.lines[0].get_ydata()[-1] == pytest.approx(0.3, abs=0.05)
    for axes in (losses, gap):
        (opening,) = [line for line in axes.lines if line.get_gid() == "opens"]
        assert opening.get_xdata()[0] == comparison.opens
        assert any("opens at" in text.get_text() for text in axes.texts)
