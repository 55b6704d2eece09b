"""Losses of several runs in one panel, by their data."""

import numpy as np
import pytest
from trainlogs import healthy, spiky, write_jsonl

from mhcdiag.plots.loss_curves import losses_figure
from mhcdiag.usecases.spikes import spikes


def log(path, loss):
    return spikes(str(write_jsonl(path, loss)))


def test_one_line_per_run_with_its_losses(tmp_path):
    losses = {"a": healthy(seed=1), "b": healthy(seed=2) + 0.5, "c": spiky()}
    figure = losses_figure([log(tmp_path / f"{name}.jsonl", loss) for name, loss in losses.items()])
    (axes,) = figure.axes
    drawn = {line.get_label(): line for line in axes.get_lines()}
    assert set(drawn) == {"a.jsonl", "b.jsonl", "c.jsonl"}
    assert len({line.get_color() for line in drawn.values()}) == 3
    assert np.mean(drawn["b.jsonl"].get_ydata()) == pytest.approx(np.mean(losses["b"]), rel=0.01)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == sorted(drawn)


def test_a_run_that_explodes_does_not_flatten_the_others(tmp_path):
    loss = healthy()
    loss[700:705] = 1e6
    (axes,) = losses_figure([log(tmp_path / "a.jsonl", loss), log(tmp_path / "b.jsonl", healthy())]).axes
    assert axes.get_ylim()[1] < 50


def test_many_runs_are_drawn_and_some_named(tmp_path):
    figure = losses_figure([log(tmp_path / f"{k:02}.jsonl", healthy(seed=k)) for k in range(23)])
    assert len(figure.axes[0].get_lines()) == 23
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert (names[0], names[-1]) == ("00.jsonl", "22.jsonl")
    assert len(names) < 12


def test_one_run_is_nothing_to_compare(tmp_path):
    with pytest.raises(ValueError, match="at least two logs with a loss, not 1"):
        losses_figure([log(tmp_path / "a.jsonl", healthy()), log(tmp_path / "b.jsonl", np.full(20, np.nan))])
