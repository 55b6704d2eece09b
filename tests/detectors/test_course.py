"""What a series is held against, and when that follows."""

import math

import numpy as np
import pytest
from detectors.builders import INF, alternating

from mhcdiag.detectors.baseline import Baselines, sliding_baselines
from mhcdiag.detectors.course import Course, Limits
from mhcdiag.detectors.interface import DetectionSettings, Thresholds
from mhcdiag.detectors.tails import WINDOWS

SMALL = DetectionSettings(window=16, warmup=8)
"""The baseline follows every second point."""
WIDE = Thresholds(z=6.0, min_rise=0.5)


def course(values: np.ndarray, *, settings: DetectionSettings = SMALL, piece: int = 10**6) -> Course:
    found = Course(settings, WIDE)
    for first in range(0, len(values), piece):
        part = values[first : first + piece]
        assert found.scan(part, first + np.arange(len(part), dtype=np.float64)) == len(part)
    return found


def limits(level: float, *, logarithmic: bool) -> Limits:
    baseline = Baselines(
        level=np.array([level]), scale=np.array([0.25]), size=np.array([1.0]), logarithmic=np.array([logarithmic])
    )
    return Limits(opens=9.0, baseline=baseline)


class TestLimits:
    """Heights above one window."""

    def test_in_the_unit_of_the_level(self) -> None:
        plain, logarithms = limits(2.0, logarithmic=False), limits(2.0, logarithmic=True)
        assert (plain.excess(3.0), plain.z(3.0), plain.level) == (1.0, 4.0, 2.0)
        assert logarithms.excess(math.exp(3.0)) == pytest.approx(1.0)
        assert logarithms.z(math.exp(3.0)) == pytest.approx(4.0)
        assert logarithms.level == pytest.approx(math.exp(2.0))

    @pytest.mark.parametrize("value", [0.0, -1.0])
    def test_what_has_no_logarithm_lies_far_below(self, value: float) -> None:
        assert limits(2.0, logarithmic=True).excess(value) == -INF
        assert limits(2.0, logarithmic=False).excess(value) == value - 2.0


class TestFollowing:
    """When the limits follow."""

    @pytest.mark.parametrize(("count", "known"), [(7, False), (8, True)])
    def test_nothing_is_judged_before_the_warm_up_ends(self, count: int, known: bool) -> None:
        assert (course(alternating(2.0, 0.1, count)).limits is not None) == known

    def test_a_window_shorter_than_the_warm_up_is_enough(self) -> None:
        assert course(alternating(2.0, 0.1, 8), settings=DetectionSettings(window=8, warmup=64)).limits is not None

    @pytest.mark.parametrize("count", [8, 9, 10, 15, 16, 17, 18, 40, 41])
    @pytest.mark.parametrize("piece", [1, 3, 10**6])
    def test_every_eighth_of_a_window(self, count: int, piece: int) -> None:
        values = np.exp(0.1 * np.random.default_rng(1).standard_normal(count))
        last = count // 2 * 2
        expected = sliding_baselines(values[max(last - 16, 0) : last], window=min(last, 16))
        found = course(values, piece=piece).limits
        assert found is not None
        assert found.opens == float(expected.reach(6.0, 0.5)[0])
        assert found.baseline.level.tolist() == expected.level.tolist()
        assert found.baseline.scale.tolist() == expected.scale.tolist()

    @pytest.mark.parametrize("window", [4, 7])
    def test_a_window_of_less_than_eight_points_follows_every_point(self, window: int) -> None:
        found = course(
            np.array([2.0, 2.1, 2.2, 2.0, 2.1, 2.2, 2.5]), settings=DetectionSettings(window=window, warmup=3)
        ).limits
        assert found is not None
        assert found.level == pytest.approx(2.5)

    def test_the_newest_point(self) -> None:
        assert course(np.array([2.0, 2.5, 3.0])).newest() == 3.0


class TestScanning:
    """Points on course are accepted up to the first that opens an event."""

    @pytest.mark.parametrize("count", [8, 9, 16, 17, 40, 41, 300])
    def test_the_first_that_reaches_the_limit(self, count: int) -> None:
        values = alternating(2.0, 0.01, count)
        found = course(values)
        assert found.limits is not None
        top = found.limits.opens
        steps = np.arange(9.0)
        assert found.scan(np.array([2.0, 2.0, 9.0, 2.0, 9.0, 2.0]), steps[:6]) == 2
        assert course(values).scan(np.array([np.nextafter(top, 0.0)]), steps[:1]) == 1
        assert course(values).scan(np.array([top]), steps[:1]) == 0
        assert course(values).scan(np.array([top, *[2.0] * 40]), np.arange(41.0)) == 0

    def test_far_ahead(self) -> None:
        values = alternating(2.0, 0.01, 5000)
        values[[4000, 4100]] = 9.0
        assert Course(SMALL, WIDE).scan(values, np.arange(5000.0)) == 4000

    @pytest.mark.parametrize("piece", [1, 5, 16, 100])
    def test_the_split_changes_no_limit(self, piece: int) -> None:
        values = np.exp(0.1 * np.random.default_rng(2).standard_normal(701))
        whole, parts = course(values), course(values, piece=piece)
        assert whole.limits is not None
        assert parts.limits is not None
        assert whole.limits.opens == parts.limits.opens
        assert whole.tail_threshold() == parts.tail_threshold()

    def test_nothing_to_scan(self) -> None:
        assert Course(SMALL, WIDE).scan(np.empty(0), np.empty(0)) == 0


class TestOtherPoints:
    """Points that were judged elsewhere, and points that a resume replaced."""

    def test_accepted_points_move_the_limits_at_once(self) -> None:
        found = course(alternating(2.0, 0.1, 17))
        found.accept(np.array([3.0, 3.0, 3.0]), np.arange(17.0, 20.0))
        assert found.limits is not None
        assert found.limits.level == pytest.approx(3.0)
        assert found.newest() == 3.0

    def test_a_new_level_forgets_the_old(self) -> None:
        found = course(alternating(2.0, 0.1, 17))
        found.restart(np.full(8, 5.0), np.arange(17.0, 25.0))
        assert found.limits is not None
        assert found.limits.level == pytest.approx(5.0)
        assert found.limits.baseline.scale.tolist() == [1e-3]
        found.restart(np.full(7, 5.0), np.arange(25.0, 32.0))
        assert found.limits is None

    @pytest.mark.parametrize(("step", "level"), [(12.0, 2.0), (11.0, 2.0), (13.0, 2.0), (16.0, 2.5)])
    def test_a_resume_forgets_what_it_replaces(self, step: float, level: float) -> None:
        found = course(np.array([*np.full(12, 2.0), *np.full(4, 2.5)]))
        found.rewind(step)
        assert found.limits is not None
        assert found.limits.level == pytest.approx(level)
        assert found.newest() == (2.0 if step <= 12.0 else 2.5)

    def test_after_a_resume_to_the_start_all_is_learned_anew(self) -> None:
        found = course(np.full(16, 2.0))
        found.rewind(7.0)
        assert found.limits is None


class TestTails:
    """The highest points of three blocks set the demand."""

    DEMAND = 1.6 * (math.log(107.0) - (math.log(99.0) + math.log(101.0)) / 2)
    """1.6 times the height of 107 over values that lie by turns at 99 and 101."""

    @staticmethod
    def high(blocks: int, *, at: int = 100, piece: int = 10**6) -> Course:
        values = alternating(100.0, 1.0, blocks * WINDOWS * 16)
        values[at :: WINDOWS * 16] = 107.0
        return course(values, piece=piece)

    @pytest.mark.parametrize("at", [50, 100, 101, 255])
    @pytest.mark.parametrize("piece", [1, 77, 10**6])
    def test_what_was_accepted_is_remembered(self, at: int, piece: int) -> None:
        assert self.high(3, at=at, piece=piece).tail_threshold().height == pytest.approx(self.DEMAND, rel=1e-3)

    def test_points_that_were_judged_elsewhere_fill_a_block_too(self) -> None:
        values = alternating(100.0, 1.0, 3 * WINDOWS * 16)
        values[100 :: WINDOWS * 16] = 107.0
        found = course(values[:-2])
        found.accept(values[-2:], np.arange(len(values) - 2.0, len(values)))
        assert found.tail_threshold().height == pytest.approx(self.DEMAND, rel=1e-3)

    def test_from_the_third_block_on(self) -> None:
        found = self.high(2)
        assert found.limits is not None
        assert found.tail_threshold().height == 6.0 * float(found.limits.baseline.scale[0])

    def test_what_turned_out_to_be_noise_is_remembered(self) -> None:
        found = Course(SMALL, WIDE)
        for block in range(3):
            values = alternating(100.0, 1.0, WINDOWS * 16)
            found.scan(values[:100], 256.0 * block + np.arange(100))
            found.note_noise(107.0)
            found.scan(values[100:], 256.0 * block + np.arange(100, 256))
        assert found.tail_threshold().height == pytest.approx(self.DEMAND, rel=1e-3)
