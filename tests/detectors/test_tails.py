"""What a lone point has to overcome in noise with and without memory."""

import numpy as np
import pytest

from mhcdiag.detectors.baseline import sliding_baselines
from mhcdiag.detectors.excursions import ExcursionTracker
from mhcdiag.detectors.interface import Points
from mhcdiag.detectors.settings import LOSS, Settings
from mhcdiag.detectors.tails import LARGEST_ECHO, MOST, WINDOWS, Tail, carry_over

POINTS = 20_011
SPIKE_AT = 15_013


def _noise(rho: float, seed: int = 3) -> np.ndarray:
    """Normal noise of deviation 1 that carries over from point to point."""
    shocks = np.random.default_rng(seed).normal(0, (1 - rho**2) ** 0.5, POINTS)
    noise = np.zeros(POINTS)
    for index, shock in enumerate(shocks):
        noise[index] = rho * noise[index - 1] + shock if index else shock
    return noise


def _blips(values: np.ndarray) -> list[float]:
    tracker = ExcursionTracker(Settings(), LOSS)
    points = Points(step=np.arange(len(values), dtype=float), line=np.arange(len(values)), value=values)
    return [event.start for event in [*tracker.feed(points), *tracker.finish()]]


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.7])
def test_carry_over_is_the_correlation_of_neighbours(rho: float) -> None:
    assert carry_over(_noise(rho)) == pytest.approx(rho, abs=0.03)


def test_one_outlier_does_not_change_the_carry_over() -> None:
    noise = _noise(0.3)
    noise[7_919] = 1e6
    assert carry_over(noise) == pytest.approx(carry_over(_noise(0.3)), abs=0.005)


def test_a_constant_series_carries_nothing_over() -> None:
    assert carry_over(np.full(127, 2.5)) == 0.0


@pytest.mark.parametrize("echo", [0.0, 1.0])
def test_a_shock_of_the_noise_leaves_an_echo_and_a_bad_batch_does_not(echo: float) -> None:
    rho, height = 0.6, 7.5
    noise = _noise(rho)
    noise[SPIKE_AT - 3 : SPIKE_AT + 9] = 0.0
    noise[SPIKE_AT : SPIKE_AT + 9] += height * np.array([1.0, *(echo * rho ** np.arange(1, 9))])
    found = _blips(2.5 * np.exp(0.01 * noise))
    assert found == ([] if echo else [SPIKE_AT])


def test_the_demand_is_that_of_the_thresholds_until_three_blocks_are_known() -> None:
    values = np.exp(0.01 * _noise(0.0))
    baseline = sliding_baselines(values[:128], window=128)
    tail = Tail()
    for _ in range(2):
        tail.note(9.0 * float(baseline.scale[0]))
        tail.note_scales(baseline)
        tail.end_block(values[:128])
    assert tail.doubt(baseline, 6.0).height == pytest.approx(6.0 * baseline.scale[0])
    assert tail.doubt(baseline, 6.0).echo == 0.0
    tail.note(9.0 * float(baseline.scale[0]))
    tail.note_scales(baseline)
    tail.end_block(values[:128])
    assert tail.doubt(baseline, 6.0).height == pytest.approx(MOST * 6.0 * baseline.scale[0])


def test_a_slow_series_expects_half_of_each_neighbour_at_most() -> None:
    walk = np.exp(0.01 * np.cumsum(_noise(0.0)))
    baseline = sliding_baselines(walk[:128], window=128)
    tail = Tail()
    for block in range(WINDOWS):
        tail.note_scales(baseline)
        tail.end_block(walk[128 * block : 128 * (block + 1)])
    assert 0.4 < tail.doubt(baseline, 6.0).echo <= LARGEST_ECHO


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_the_scale_of_one_window_does_not_matter_within_its_error(factor: float) -> None:
    values = _noise(0.0)
    usual = sliding_baselines(np.exp(0.01 * values[:128]), window=128)
    tail = Tail()
    for _ in range(3):
        tail.note_scales(usual)
        tail.end_block(values[:128])
    other = sliding_baselines(np.exp(0.01 * factor * values[:128]), window=128)
    assert tail.doubt(other, 6.0).height == pytest.approx(tail.doubt(usual, 6.0).height)
