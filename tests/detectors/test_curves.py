"""The series for drawing: bins that double, and never join two runs."""

import numpy as np
import pytest

from mhcdiag.detectors.series import MOST, CurveBuilder


def fed(count: int, piece: int = 10**6) -> CurveBuilder:
    """Feed the values 0, 1, 2, ... at steps 0, 2, 4, ..."""
    builder = CurveBuilder()
    for first in range(0, count, piece):
        index = np.arange(first, min(first + piece, count), dtype=np.float64)
        builder.feed(2 * index, index)
    return builder


def test_few_points_stand_for_themselves() -> None:
    curve = fed(3).curve()
    assert (curve.run, curve.step) == ((0, 0, 0), (0.0, 2.0, 4.0))
    assert curve.low == curve.high == (0.0, 1.0, 2.0)
    assert CurveBuilder().curve().step == ()


@pytest.mark.parametrize("piece", [1 << 20, 1000, 1])
def test_one_point_too_many_doubles_the_bins(piece: int) -> None:
    assert MOST == 4096
    assert len(fed(MOST, piece).curve().step) == MOST
    curve = fed(MOST + 1, piece).curve()
    assert len(curve.step) == MOST // 2 + 1
    assert (curve.step[:3], curve.low[:3], curve.high[:3]) == ((0.0, 4.0, 8.0), (0.0, 2.0, 4.0), (1.0, 3.0, 5.0))
    assert (curve.step[-1], curve.low[-1], curve.high[-1]) == (8192.0, 4096.0, 4096.0)


def test_points_that_fill_no_bin_are_drawn_too() -> None:
    builder = fed(MOST + 1)
    builder.feed(np.array([10_000.0, 10_001.0, 10_002.0]), np.array([7.0, 5.0, 6.0]))
    curve = builder.curve()
    assert len(curve.step) == MOST // 2 + 3
    assert (curve.step[-2:], curve.low[-2:], curve.high[-2:]) == ((10_000.0, 10_002.0), (5.0, 6.0), (7.0, 6.0))
    builder.feed(np.array([10_003.0]), np.array([9.0]))
    assert builder.curve().high[-1] == 9.0
    assert len(builder.curve().step) == MOST // 2 + 3


def test_bins_double_again() -> None:
    curve = fed(4 * MOST + 3).curve()
    assert (curve.step[1], curve.low[1], curve.high[1]) == (16.0, 8.0, 15.0)


def test_a_new_run_closes_the_bin() -> None:
    builder = fed(MOST + 1)
    builder.feed(np.array([1.0]), np.array([3.5]))
    builder.new_run(1)
    builder.feed(np.array([2.0]), np.array([4.5]))
    curve = builder.curve()
    assert (curve.run[-2:], curve.low[-2:], curve.high[-2:]) == ((0, 1), (3.5, 4.5), (3.5, 4.5))
