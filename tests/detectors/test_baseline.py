"""Level and scale of a window, by hand on windows of eight points."""

import math

import numpy as np
import pytest
from detectors.builders import INF, alternating

from mhcdiag.detectors.baseline import (
    LEAST_SCALE,
    MAD_TO_SIGMA,
    Baselines,
    linear_deviation,
    medians,
    sliding_baselines,
)

SIGNED = np.array([-1.0, 3.0, 2.0, 4.0, 1.0, 5.0, 6.0, 8.0])
"""A series of wide steps: its half quantum is below its deviation."""


def one(values: list[float] | np.ndarray) -> Baselines:
    return sliding_baselines(np.array(values, dtype=np.float64), window=len(values))


def known(*, level: float, scale: float = 0.1, size: float = 1.0, logarithmic: bool = False) -> Baselines:
    return Baselines(
        level=np.array([level]),
        scale=np.array([scale]),
        size=np.array([size]),
        logarithmic=np.array([logarithmic]),
    )


class TestWindow:
    """What a window says."""

    def test_constants(self) -> None:
        assert (MAD_TO_SIGMA, LEAST_SCALE) == (1.4826, 1e-3)

    def test_the_level_is_the_median_of_the_newest_quarter(self) -> None:
        assert one(SIGNED).level.tolist() == [7.0]
        assert one([-9.0, *range(1, 12)]).level.tolist() == [10.0]  # three of twelve
        assert one([-9.0, 5.0, 7.0]).level.tolist() == [7.0]  # one at least

    def test_positive_windows_are_judged_by_their_logarithm(self) -> None:
        found = one(np.exp([1.0, 3.0, 2.0, 4.0, 1.0, 5.0, 6.0, 8.0]))
        np.testing.assert_allclose(found.level, [7.0])
        assert (found.size.tolist(), found.logarithmic.tolist()) == ([1.0], [True])
        np.testing.assert_allclose(found.values(), [math.exp(7.0)])

    @pytest.mark.parametrize("low", [0.0, -1.0])
    def test_windows_with_zero_or_less_are_judged_as_they_are(self, low: float) -> None:
        found = one([low, 3.0, 2.0, 4.0, 1.0, 5.0, -6.0, -8.0])
        assert (found.level.tolist(), found.size.tolist(), found.logarithmic.tolist()) == ([-7.0], [7.0], [False])
        assert found.values().tolist() == [-7.0]

    def test_the_noise_is_taken_around_a_line_through_the_medians_of_both_halves(self) -> None:
        # Medians of the halves 2.5 and 5.5: a slope of 3/4, 4 in the middle. Distances from the line:
        # -2.375, 0.875, -0.875, 0.375, -3.375, -0.125, 0.125, 1.375; the upper middle of their sizes is 0.875.
        np.testing.assert_allclose(one(SIGNED).scale, [1.4826 * 0.875])
        assert linear_deviation(SIGNED) == 0.875

    def test_an_odd_window_leaves_its_middle_out_of_both_halves(self) -> None:
        # Halves (0, 2) and (7, 9): medians 1 and 8 with 5 - 2 = 3 between them, 4.5 in the middle, a slope of 7/3.
        # Distances from the line: 1/6, -1/6, 2.51, 1/6, -1/6.
        assert linear_deviation(np.array([0.0, 2.0, 7.01, 7.0, 9.0])) == pytest.approx(1 / 6)

    def test_a_line_has_no_noise_but_the_least(self) -> None:
        found = one(np.arange(-4.0, 4.0))
        assert found.scale.tolist() == [1.4826 * 0.5]  # half the step of a series that takes whole numbers
        falling = one(alternating(-5.0, 1e-7, 8))
        np.testing.assert_allclose(falling.scale, [5e-3], rtol=1e-6)  # a thousandth of its size
        positive = one(np.full(8, 2.5))
        assert positive.scale.tolist() == [1e-3]
        assert one(np.zeros(8)).scale.tolist() == [np.finfo(np.float64).tiny]

    def test_half_of_the_step_of_rounded_values(self) -> None:
        rounded = np.array([0.0, 0.0, 0.25, 0.0, 0.0, 0.75, 0.0, 0.0])
        assert linear_deviation(rounded) == 0.125
        # Not neighbours in time: 0 and 0.25 differ least only in order of size.
        assert linear_deviation(np.array([0.0, 0.0, 1.0, 0.0, 0.0, 1.25, 0.0, 0.0])) == 0.125
        assert linear_deviation(np.full(8, 2.5)) == 0.0

    def test_differences_by_rounding_errors_are_none(self) -> None:
        level = np.full(8, 1.0)
        level[2], level[5] = 1.0 + 0.5e-9, 1.5
        assert linear_deviation(level) == pytest.approx(0.25)
        level[2] = 1.0 + 3e-9
        assert linear_deviation(level) == pytest.approx(1.5e-9, rel=1e-6)


class TestSliding:
    """All windows at once."""

    @pytest.mark.parametrize("stride", [1, 3, 4])
    @pytest.mark.parametrize(("lowest", "positive"), [(0.5, "all"), (-1.0, "some"), (0.0, "some")])
    def test_each_window_is_that_of_its_own_values(self, stride: int, lowest: float, positive: str) -> None:
        values = np.random.default_rng(5).lognormal(0.0, 0.3, 53)
        values[41] = lowest
        found = sliding_baselines(values, window=16, stride=stride)
        alone = [one(values[start : start + 16]) for start in range(0, 53 - 16 + 1, stride)]
        assert found.logarithmic.any()
        assert found.logarithmic.all() == (positive == "all")
        for name in ("level", "scale", "size", "logarithmic"):
            assert getattr(found, name).tolist() == [getattr(each, name)[0] for each in alone]

    def test_some_of_them(self) -> None:
        found = sliding_baselines(np.arange(1.0, 30.0), window=8)
        some = found.take(slice(2, 4))
        assert some.level.tolist() == found.level[2:4].tolist()
        assert some.scale.tolist() == found.scale[2:4].tolist()
        assert (len(some.size), len(some.logarithmic)) == (2, 2)

    @pytest.mark.parametrize("ends", [[8], [8, 12, 16], [9, 10]])
    def test_medians_before_each_end(self, ends: list[int]) -> None:
        values = np.random.default_rng(5).standard_normal(20)
        expected = [np.median(values[end - 7 : end]) for end in ends]
        np.testing.assert_allclose(medians(values, np.array(ends), 7), expected)
        expected = [np.median(values[end - 6 : end]) for end in ends]
        np.testing.assert_allclose(medians(values, np.array(ends), 6), expected)


class TestReach:
    """From which value on a point stands out."""

    @pytest.mark.parametrize(("z", "rise", "reached"), [(6.0, 0.1, 2.6), (6.0, 0.4, 2.8), (6.0, 0.3, 2.6)])
    def test_deviations_and_share_both_count(self, z: float, rise: float, reached: float) -> None:
        np.testing.assert_allclose(known(level=2.0, size=2.0).reach(z, rise), [reached])

    @pytest.mark.parametrize(("z", "rise", "reached"), [(6.0, 0.5, math.exp(2.6)), (3.0, 0.5, 1.5 * math.exp(2.0))])
    def test_logarithms(self, z: float, rise: float, reached: float) -> None:
        np.testing.assert_allclose(known(level=2.0, logarithmic=True).reach(z, rise), [reached])

    def test_a_reach_beyond_all_numbers(self) -> None:
        assert known(level=700.0, scale=100.0, logarithmic=True).reach(6.0, 0.1).tolist() == [INF]
        np.testing.assert_allclose(known(level=701.0, logarithmic=True).values(), [math.exp(700.0)])

    def test_how_far_values_lie_above(self) -> None:
        values = np.array([math.exp(3.0)])
        np.testing.assert_allclose(known(level=2.0, logarithmic=True).excess(values), [1.0])
        np.testing.assert_allclose(known(level=2.0).excess(values), values - 2.0)
        assert known(level=2.0, logarithmic=True).excess(np.array([0.0])).tolist() == [-INF]
        assert known(level=2.0, logarithmic=True).excess(np.array([-1.0])).tolist() == [-INF]
