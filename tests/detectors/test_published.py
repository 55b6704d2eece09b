"""The published rules at their limits, and whatever the split of the values; the spike scores over all runs."""

import numpy as np
import pytest
from detectors.builders import NAN, alternating

from mhcdiag.detectors import RULES
from mhcdiag.detectors.interface import PublishedRule
from mhcdiag.detectors.published import (
    KILL_LOSS_SPIKE,
    MEGATRON_SPIKY,
    OLMO2,
    OLMO_CORE,
    ZCLIP,
    ZCLIP_WARMUP,
    SpikeScores,
)


def flags(rule: PublishedRule, *values: float | np.ndarray, piece: int = 10**6) -> list[int]:
    """Indices that a rule flags."""
    whole = np.concatenate([np.atleast_1d(value) for value in values])
    flagger = rule.start()
    parts = [flagger.feed(whole[start : start + piece]) for start in range(0, len(whole), piece)]
    return np.flatnonzero(np.concatenate(parts)).tolist()


def test_names() -> None:
    assert [rule.name for rule in RULES] == ["olmo2", "olmo-core", "kill-loss-spike", "megatron", "zclip"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("piece", [1, 7, 100, 128])
def test_the_split_of_the_values_does_not_matter(rule: PublishedRule, piece: int) -> None:
    values = np.random.default_rng(3).lognormal(0.0, 0.2, 1301)
    values[[150, 151, 152, 153, 154, 155, 1100, 1290]] *= 40.0
    whole = flags(rule, values)
    assert whole
    assert flags(rule, values, piece=piece) == whole


class TestOlmo2:
    """Seven standard deviations from the mean of 1000 values, both sides."""

    @pytest.mark.parametrize(("value", "found"), [(7.0, 1), (6.99, 0), (-7.0, 1), (-6.99, 0)])
    @pytest.mark.parametrize("level", [0.0, 1024.0])
    def test_the_limit(self, value: float, level: float, found: int) -> None:
        assert flags(OLMO2, alternating(level, 1.0, 1000), level + value) == [1000] * found

    def test_the_window_must_be_full(self) -> None:
        assert flags(OLMO2, alternating(0.0, 1.0, 999), 99.0) == []

    def test_no_variance_flags_nothing(self) -> None:
        assert flags(OLMO2, np.full(1000, 2.5), 99.0) == []


class TestOlmoCore:
    """Six standard deviations above the mean of 128 values."""

    @pytest.mark.parametrize(("value", "found"), [(6.0, 0), (6.01, 1), (-99.0, 0)])
    @pytest.mark.parametrize("level", [0.0, 1024.0])
    def test_the_limit(self, value: float, level: float, found: int) -> None:
        assert flags(OLMO_CORE, alternating(level, 1.0, 128), level + value) == [128] * found

    def test_the_window_must_be_full(self) -> None:
        assert flags(OLMO_CORE, alternating(0.0, 1.0, 127), 99.0) == []

    @pytest.mark.parametrize(("size", "found"), [(0.9e-10, 0), (1.1e-10, 1)])
    def test_a_deviation_of_nothing_flags_nothing(self, size: float, found: int) -> None:
        assert len(flags(OLMO_CORE, alternating(0.0, size, 128), 99.0)) == found

    def test_what_is_flagged_enters_the_window(self) -> None:
        assert flags(OLMO_CORE, alternating(0.0, 1.0, 128), 99.0, 45.0) == [128]


class TestKillLossSpike:
    """Twice the mean of 100 values, more than four times in a row."""

    def test_the_fifth_in_a_row_fires(self) -> None:
        assert flags(KILL_LOSS_SPIKE, np.ones(100), np.full(4, 9.0), np.ones(50)) == []
        assert flags(KILL_LOSS_SPIKE, np.ones(100), np.full(6, 9.0), np.ones(50)) == [104, 105]

    def test_one_normal_value_begins_anew(self) -> None:
        assert flags(KILL_LOSS_SPIKE, np.ones(100), np.full(4, 9.0), 1.0, np.full(4, 9.0)) == []

    @pytest.mark.parametrize(("last", "found"), [(2.72, 1), (2.71, 0)])
    def test_twice_the_mean_is_an_outlier(self, last: float, found: int) -> None:
        # Outliers enter the window: four of 10 make its mean 0.96 + 0.4 = 1.36.
        assert flags(KILL_LOSS_SPIKE, np.ones(100), np.full(4, 10.0), last) == [104] * found

    def test_the_window_must_be_full(self) -> None:
        assert flags(KILL_LOSS_SPIKE, np.ones(99), np.full(5, 9.0)) == []
        assert flags(KILL_LOSS_SPIKE, np.ones(99), np.full(6, 9.0)) == [104]

    def test_no_values(self) -> None:
        assert KILL_LOSS_SPIKE.start().feed(np.empty(0)).tolist() == []


class TestMegatron:
    """Ten times the largest of the first hundred values, by size."""

    @pytest.mark.parametrize(("value", "found"), [(30.0, 1), (29.9, 0), (-30.0, 1)])
    @pytest.mark.parametrize("largest", [3.0, -3.0])
    def test_the_limit(self, value: float, largest: float, found: int) -> None:
        assert flags(MEGATRON_SPIKY, np.ones(99), largest, value) == [100] * found

    def test_a_hundred_values_are_only_learned_from(self) -> None:
        assert flags(MEGATRON_SPIKY, np.ones(99), 30.0, 299.0, 300.0) == [101]
        assert flags(MEGATRON_SPIKY, np.ones(100), 30.0, 3.0) == [100]


# One value at the mean and twelve pairs around it that make mean 1 and variance 0.04.
SPREAD = (0.04 * ZCLIP_WARMUP / (ZCLIP_WARMUP - 1)) ** 0.5
START = [1.0, *([1.0 + SPREAD, 1.0 - SPREAD] * (ZCLIP_WARMUP // 2))]


class TestZClip:
    """Averages from 25 values, then updated with the clipped one, by hand."""

    def test_the_averages_start_from_the_first_values(self) -> None:
        assert np.mean(START) == pytest.approx(1.0)
        assert np.var(START) == pytest.approx(0.04)
        assert not ZCLIP.start().feed(np.array(START)).any()

    @pytest.mark.parametrize(("value", "flagged"), [(1.499, False), (1.501, True), (0.1, False)])
    def test_two_and_a_half_deviations_above_the_mean_are_flagged(self, value: float, flagged: bool) -> None:
        assert ZCLIP.start().feed(np.array([*START, value]))[-1] == flagged

    @pytest.mark.parametrize(("second", "flagged"), [(1.4985, False), (1.4995, True)])
    def test_a_flagged_value_enters_the_averages_clipped(self, second: float, flagged: bool) -> None:
        # z of 3.0 is 10 (less 5e-5 for the epsilon); it is clipped to 1 + 2.5 * 0.2 / (10 / 2.5) = 1.125. Then
        # mean = 0.97 * 1 + 0.03 * 1.125 = 1.00375
        # variance = 0.97 * 0.04 + 0.03 * (1.125 - 1.00375)**2 = 0.039241
        # limit = 1.00375 + 2.5 * 0.198094 = 1.49898
        flags = ZCLIP.start().feed(np.array([*START, 3.0, second]))
        assert flags[-2:].tolist() == [True, flagged]

    def test_the_split_of_the_values_does_not_matter(self) -> None:
        values = np.random.default_rng(7).lognormal(0.0, 0.3, 211)
        flagger = ZCLIP.start()
        pieces = [flagger.feed(values[start : start + 17]) for start in range(0, len(values), 17)]
        assert np.concatenate(pieces).tolist() == ZCLIP.start().feed(values).tolist()


def scores(*runs: np.ndarray) -> tuple[float, float]:
    found = SpikeScores()
    for run in runs:
        found.new_run()
        found.feed(run[:100])
        found.feed(run[100:])
    score = found.score()
    return score.olmo2, score.olmo_core


class TestSpikeScores:
    """Shares of flagged points, over all runs."""

    def test_the_share_of_flagged_points(self) -> None:
        run = np.concatenate([alternating(0.0, 1.0, 1000), [-9.0, 9.0, 20.0]])
        assert scores(run) == (3 / 1003, 2 / 1003)

    @pytest.mark.parametrize(("count", "known"), [(127, False), (128, False), (129, True)])
    def test_without_a_full_window_there_is_no_score(self, count: int, known: bool) -> None:
        assert repr(scores(alternating(0.0, 1.0, count))) == repr((NAN, 0.0 if known else NAN))

    def test_the_window_of_a_run_does_not_reach_into_the_next(self) -> None:
        short = alternating(0.0, 1.0, 100)
        assert repr(scores(short, short)) == repr((NAN, NAN))
        first = alternating(0.0, 1.0, 140)
        assert repr(scores(first, np.full(60, 99.0))) == repr((NAN, 0.0))
        assert repr(scores(first, np.concatenate([first, [99.0]]))) == repr((NAN, 1 / 281))

    def test_each_run_fills_its_own_window_of_a_thousand(self) -> None:
        first = alternating(0.0, 1.0, 1001)
        assert scores(first, np.full(60, 99.0)) == (0.0, 0.0)
        assert scores(np.concatenate([first, [99.0]])) == (1 / 1002, 1 / 1002)
