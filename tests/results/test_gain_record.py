"""What the record offers beside its fields."""

import math

import pytest
import torch
from stacks import CONFIG, captured_tensors, deepseek_v4_tensors, write

import mhcdiag
from mhcdiag.results.gain import Direction, blame


@pytest.fixture
def result(tmp_path) -> mhcdiag.GainResult:
    return mhcdiag.gain(write(tmp_path, deepseek_v4_tensors(), config=CONFIG), tokens=31)


def test_the_frame_has_a_row_per_site_and_every_curve(result: mhcdiag.GainResult):
    frame = result.to_frame()
    assert list(frame.index) == list(result.sites)
    assert frame.shape == (6, 3 * 2 * 2 * 5)
    assert tuple(frame["prefix", "backward", "norm", "p99"]) == result.curve("prefix", "backward", "norm", "p99")


def test_a_wrong_word_is_refused(result: mhcdiag.GainResult):
    with pytest.raises(ValueError, match="'sideways' is not a valid Direction"):
        result.curve("prefix", "sideways", "norm")


def test_blame_names_the_site_that_amplifies(tmp_path):
    maps = torch.eye(3).repeat(5, 2, 1, 1)
    maps[3] *= 8
    maps[1] *= 2
    result = mhcdiag.gain(write(tmp_path, captured_tensors(maps)))
    for direction in Direction:
        assert blame(result, direction) == pytest.approx((0, 0.25, 0, 0.75, 0))


def test_nobody_is_to_blame_for_a_calm_model(tmp_path):
    result = mhcdiag.gain(write(tmp_path, captured_tensors(torch.eye(3).repeat(5, 2, 1, 1))))
    assert blame(result, Direction.FORWARD) == (0.0,) * 5


def test_blame_survives_a_broken_mapping(tmp_path):
    maps = torch.eye(3).repeat(5, 2, 1, 1)
    maps[3] = math.nan
    assert blame(mhcdiag.gain(write(tmp_path, captured_tensors(maps))), Direction.FORWARD) == (0.0,) * 5
