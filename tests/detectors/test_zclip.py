"""ZClip by hand: averages from 25 values, then updated with the clipped one."""

import numpy as np
import pytest

from mhcdiag.detectors.published import WARMUP, ZClip

# One value at the mean and twelve pairs around it that make mean 1 and variance 0.04.
SPREAD = (0.04 * WARMUP / (WARMUP - 1)) ** 0.5
START = [1.0, *([1.0 + SPREAD, 1.0 - SPREAD] * (WARMUP // 2))]


def test_the_averages_start_from_the_first_values() -> None:
    assert np.mean(START) == pytest.approx(1.0)
    assert np.var(START) == pytest.approx(0.04)
    assert not ZClip().start().feed(np.array(START)).any()


@pytest.mark.parametrize(("value", "flagged"), [(1.499, False), (1.501, True), (0.1, False)])
def test_two_and_a_half_deviations_above_the_mean_are_flagged(value: float, flagged: bool) -> None:
    assert ZClip().start().feed(np.array([*START, value]))[-1] == flagged


@pytest.mark.parametrize(("second", "flagged"), [(1.4985, False), (1.4995, True)])
def test_a_flagged_value_enters_the_averages_clipped(second: float, flagged: bool) -> None:
    # z of 3.0 is 10 (less 5e-5 for the epsilon); it is clipped to 1 + 2.5 * 0.2 / (10 / 2.5) = 1.125. Then
    # mean = 0.97 * 1 + 0.03 * 1.125 = 1.00375
    # variance = 0.97 * 0.04 + 0.03 * (1.125 - 1.00375)**2 = 0.039241
    # limit = 1.00375 + 2.5 * 0.198094 = 1.49898
    flags = ZClip().start().feed(np.array([*START, 3.0, second]))
    assert flags[-2:].tolist() == [True, flagged]


def test_the_split_of_the_values_does_not_matter() -> None:
    values = np.random.default_rng(7).lognormal(0.0, 0.3, 211)
    flagger = ZClip().start()
    pieces = [flagger.feed(values[start : start + 17]) for start in range(0, len(values), 17)]
    assert np.concatenate(pieces).tolist() == ZClip().start().feed(values).tolist()
