"""The published rules at their limits, and whatever the split of the values."""

import numpy as np
import pytest
from detectors.builders import alternating

from mhcdiag.detectors import RULES
from mhcdiag.detectors.interface import Rule
from mhcdiag.detectors.published import KillLossSpike, MegatronSpiky, Olmo2, OlmoCore


def flags(rule: Rule, *values: float | np.ndarray, piece: int = 10**6) -> list[int]:
    """Indices that a rule flags."""
    whole = np.concatenate([np.atleast_1d(value) for value in values])
    flagger = rule.start()
    parts = [flagger.feed(whole[start : start + piece]) for start in range(0, len(whole), piece)]
    return np.flatnonzero(np.concatenate(parts)).tolist()


def test_names() -> None:
    assert [rule.name for rule in RULES] == ["olmo2", "olmo-core", "kill-loss-spike", "megatron", "zclip"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("piece", [1, 7, 100, 128])
def test_the_split_of_the_values_does_not_matter(rule: Rule, piece: int) -> None:
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
        assert flags(Olmo2(), alternating(level, 1.0, 1000), level + value) == [1000] * found

    def test_the_window_must_be_full(self) -> None:
        assert flags(Olmo2(), alternating(0.0, 1.0, 999), 99.0) == []

    def test_no_variance_flags_nothing(self) -> None:
        assert flags(Olmo2(), np.full(1000, 2.5), 99.0) == []


class TestOlmoCore:
    """Six standard deviations above the mean of 128 values."""

    @pytest.mark.parametrize(("value", "found"), [(6.0, 0), (6.01, 1), (-99.0, 0)])
    @pytest.mark.parametrize("level", [0.0, 1024.0])
    def test_the_limit(self, value: float, level: float, found: int) -> None:
        assert flags(OlmoCore(), alternating(level, 1.0, 128), level + value) == [128] * found

    def test_the_window_must_be_full(self) -> None:
        assert flags(OlmoCore(), alternating(0.0, 1.0, 127), 99.0) == []

    @pytest.mark.parametrize(("size", "found"), [(0.9e-10, 0), (1.1e-10, 1)])
    def test_a_deviation_of_nothing_flags_nothing(self, size: float, found: int) -> None:
        assert len(flags(OlmoCore(), alternating(0.0, size, 128), 99.0)) == found

    def test_what_is_flagged_enters_the_window(self) -> None:
        assert flags(OlmoCore(), alternating(0.0, 1.0, 128), 99.0, 45.0) == [128]


class TestKillLossSpike:
    """Twice the mean of 100 values, more than four times in a row."""

    def test_the_fifth_in_a_row_fires(self) -> None:
        assert flags(KillLossSpike(), np.ones(100), np.full(4, 9.0), np.ones(50)) == []
        assert flags(KillLossSpike(), np.ones(100), np.full(6, 9.0), np.ones(50)) == [104, 105]

    def test_one_normal_value_begins_anew(self) -> None:
        assert flags(KillLossSpike(), np.ones(100), np.full(4, 9.0), 1.0, np.full(4, 9.0)) == []

    @pytest.mark.parametrize(("last", "found"), [(2.72, 1), (2.71, 0)])
    def test_twice_the_mean_is_an_outlier(self, last: float, found: int) -> None:
        # Outliers enter the window: four of 10 make its mean 0.96 + 0.4 = 1.36.
        assert flags(KillLossSpike(), np.ones(100), np.full(4, 10.0), last) == [104] * found

    def test_the_window_must_be_full(self) -> None:
        assert flags(KillLossSpike(), np.ones(99), np.full(5, 9.0)) == []
        assert flags(KillLossSpike(), np.ones(99), np.full(6, 9.0)) == [104]

    def test_no_values(self) -> None:
        assert KillLossSpike().start().feed(np.empty(0)).tolist() == []


class TestMegatron:
    """Ten times the largest of the first hundred values, by size."""

    @pytest.mark.parametrize(("value", "found"), [(30.0, 1), (29.9, 0), (-30.0, 1)])
    @pytest.mark.parametrize("largest", [3.0, -3.0])
    def test_the_limit(self, value: float, largest: float, found: int) -> None:
        assert flags(MegatronSpiky(), np.ones(99), largest, value) == [100] * found

    def test_a_hundred_values_are_only_learned_from(self) -> None:
        assert flags(MegatronSpiky(), np.ones(99), 30.0, 299.0, 300.0) == [101]
        assert flags(MegatronSpiky(), np.ones(100), 30.0, 3.0) == [100]
