"""The gap between two losses: where the steps are common, and from where it is open."""

import numpy as np
import pytest
from detectors.builders import alternating

from mhcdiag.detectors.gap import Gap, loss_gap


def against(theirs: float, gap: np.ndarray) -> Gap:
    """Two losses at steps 0, 10, 20 that differ by a given gap."""
    step = 10.0 * np.arange(len(gap))
    return loss_gap((step, theirs + gap), (step, np.full(len(gap), theirs)))


@pytest.mark.parametrize(("count", "window"), [(49, 1), (99, 1), (100, 3), (199, 3), (200, 5)])
def test_the_window_is_a_fiftieth_of_the_steps(count: int, window: int) -> None:
    for wide in range(1, window + 1, 2):
        gap = np.zeros(count)
        gap[20 : 20 + wide] = 1.0
        assert against(2.0, gap).smooth[20 + wide // 2] == (1.0 if 2 * wide > window else 0.0)


@pytest.mark.parametrize(("count", "wide", "seen"), [(25_050, 250, 0.0), (25_050, 251, 1.0), (60_000, 251, 1.0)])
def test_the_window_is_501_steps_at_most(count: int, wide: int, seen: float) -> None:
    gap = np.zeros(count)
    gap[9_000 : 9_000 + wide] = 1.0
    assert against(2.0, gap).smooth.max() == seen


def test_the_ends_repeat() -> None:
    gap = np.zeros(100)
    gap[0], gap[-1] = 1.0, 2.0
    assert against(2.0, gap).smooth[[0, -1]].tolist() == [1.0, 2.0]


@pytest.mark.parametrize(("size", "opens"), [(0.99e-3, None), (1.01e-3, 0.0), (-1.01e-3, 0.0)])
@pytest.mark.parametrize("theirs", [1.0, -4.0])
def test_a_gap_of_a_thousandth_of_the_loss_is_open(size: float, theirs: float, opens: float | None) -> None:
    assert against(theirs, np.full(40, size * abs(theirs))).opens == opens


def test_exactly_a_thousandth_is_not() -> None:
    step = np.arange(40.0)
    assert loss_gap((step, np.full(40, 1e-3)), (step, np.zeros(40))).opens == 0.0
    found = loss_gap((step, np.full(40, -1000.0)), (step, np.full(40, -1000.0)))
    assert found.opens is None


@pytest.mark.parametrize(("share", "opens"), [(0.99, None), (1.01, 900.0)])
def test_six_standard_errors_of_the_median(share: float, opens: float | None) -> None:
    # A gap that alternates by a: its running median of three alternates against it, and lies 2 a away.
    a = 0.01
    limit = 6 * 1.2533 * 1.4826 * 2 * a / 3**0.5
    gap = alternating(0.0, a, 101)
    gap[90:] += a + share * limit
    assert against(1.0, gap).opens == opens


def test_it_opens_where_it_stays_open_until_the_end() -> None:
    gap = np.zeros(40)
    gap[10:20] = gap[30:] = 1.0
    assert against(2.0, gap).opens == 300.0
    gap[-1] = 0.0
    assert against(2.0, gap).opens is None


def test_values_at_the_common_steps() -> None:
    mine = (np.array([1.0, 2.0, 3.0, 4.0]), np.array([9.0, 8.0, 7.0, 6.0]))
    found = loss_gap(mine, (np.array([2.0, 4.0, 5.0]), np.array([1.0, 2.0, 3.0])))
    assert (found.step.tolist(), found.mine.tolist(), found.theirs.tolist()) == ([2, 4], [8, 6], [1, 2])
    assert found.smooth.tolist() == [7.0, 4.0]


@pytest.mark.parametrize(("shared", "steps"), [(2, [0.0, 10.0]), (1, [0.0, 10.0, 20.0, 30.0])])
def test_half_the_steps_must_be_common_or_the_second_is_interpolated(shared: int, steps: list[float]) -> None:
    mine = (np.array([0.0, 10.0, 20.0, 30.0, 40.0]), np.zeros(5))
    other = np.array([0.0, *([10.0] if shared == 2 else [11.0]), 29.0, 30.5])
    found = loss_gap(mine, (other, other / 2))
    assert found.step.tolist() == steps
    np.testing.assert_allclose(found.theirs, found.step / 2)


def test_nothing_in_common() -> None:
    none = (np.empty(0), np.empty(0))
    some = (np.array([1.0, 2.0]), np.array([2.5, 2.0]))
    for first, second in ((none, none), (some, none), (none, some), (some, (some[0] + 7, some[1]))):
        found = loss_gap(first, second)
        assert (len(found.step), found.opens) == (0, None)
