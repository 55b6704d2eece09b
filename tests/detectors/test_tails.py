"""What a lone point has to overcome in noise with and without memory."""

import numpy as np
import pytest

from mhcdiag.detectors.baseline import Baselines, sliding_baselines
from mhcdiag.detectors.excursions import ExcursionTracker
from mhcdiag.detectors.interface import LOSS_THRESHOLDS, DetectionSettings, Points
from mhcdiag.detectors.tails import BLOCKS, LARGEST_ECHO, MOST, RECENT, WINDOWS, Tail, carry_over

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
    tracker = ExcursionTracker(DetectionSettings(), LOSS_THRESHOLDS)
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
    assert tail.threshold(baseline, 6.0).height == pytest.approx(6.0 * baseline.scale[0])
    assert tail.threshold(baseline, 6.0).echo == 0.0
    tail.note(9.0 * float(baseline.scale[0]))
    tail.note_scales(baseline)
    tail.end_block(values[:128])
    assert tail.threshold(baseline, 6.0).height == pytest.approx(MOST * 6.0 * baseline.scale[0])


def test_a_slow_series_expects_half_of_each_neighbour_at_most() -> None:
    walk = np.exp(0.01 * np.cumsum(_noise(0.0)))
    baseline = sliding_baselines(walk[:128], window=128)
    tail = Tail()
    for block in range(WINDOWS):
        tail.note_scales(baseline)
        tail.end_block(walk[128 * block : 128 * (block + 1)])
    assert 0.4 < tail.threshold(baseline, 6.0).echo <= LARGEST_ECHO


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_the_scale_of_one_window_does_not_matter_within_its_error(factor: float) -> None:
    values = _noise(0.0)
    usual = sliding_baselines(np.exp(0.01 * values[:128]), window=128)
    tail = Tail()
    for _ in range(3):
        tail.note_scales(usual)
        tail.end_block(values[:128])
    other = sliding_baselines(np.exp(0.01 * factor * values[:128]), window=128)
    assert tail.threshold(other, 6.0).height == pytest.approx(tail.threshold(usual, 6.0).height)


def window(scale: float, *, logarithmic: bool = True) -> Baselines:
    return Baselines(level=np.zeros(1), scale=np.array([scale]), size=np.ones(1), logarithmic=np.array([logarithmic]))


EVEN = np.array([1.0, -1.0] * 8)
WAVE = np.array([1.0, 1.0, 1.0, 1.0, -1.0, -1.0, -1.0, -1.0] * 500)
"""About the median, its upper value, neighbours correlate by three quarters: 0.75 / (1 + 0.75**2) is 0.48."""


def after(*blocks: tuple[float, float], newest: np.ndarray = EVEN) -> Tail:
    """A tail of blocks of some heights, in scales, and scales."""
    tail = Tail()
    for height, scale in blocks:
        tail.note(height * scale)
        tail.note_scales(window(scale))
        tail.end_block(newest)
    return tail


def test_the_constants() -> None:
    assert (WINDOWS, BLOCKS, RECENT, MOST, LARGEST_ECHO) == (16, 49, 9, 1.5, 0.5)


@pytest.mark.parametrize(
    ("heights", "demand"),
    [
        ((5.0, 5.0, 9.0), 8.0),
        ((5.0, 9.0, 5.0), 8.0),
        ((4.0, 5.0), 6.0),
        ((3.75, 3.75, 3.75), 6.0),
        ((3.8, 3.8, 3.8), 6.08),
        ((5.6, 5.6, 5.6), 8.96),
        ((6.0, 6.0, 6.0), 9.0),
        ((4.0, 5.0, 5.0, 5.5), 8.0),
    ],
)
def test_the_usual_maximum_of_three_blocks_sets_the_demand(heights: tuple[float, ...], demand: float) -> None:
    doubt = after(*((height, 2.0) for height in heights)).threshold(window(2.0), 6.0)
    assert doubt.height == pytest.approx(2.0 * demand)
    assert doubt.echo == 0.0  # neighbours on opposite sides leave none


def test_the_largest_point_of_a_block_counts() -> None:
    tail = Tail()
    for _ in range(3):
        for height in (1.0, 5.0, 3.0, -9.0):
            tail.note(height)
        tail.note_scales(window(1.0))
        tail.end_block(EVEN)
    assert tail.threshold(window(1.0), 6.0).height == pytest.approx(8.0)


def test_a_block_forgets_the_one_before() -> None:
    assert after((5.5, 1.0), (5.5, 1.0), (5.0, 1.0), (5.0, 1.0), (5.0, 1.0)).threshold(window(1.0), 6.0).height == 8.0


def test_the_scale_of_a_block_is_the_median_of_its_windows() -> None:
    tail = Tail()
    for _ in range(3):
        tail.note(5.0)
        for scale in (1.0, 1.0, 7.0):
            tail.note_scales(window(scale))
        tail.end_block(EVEN)
    assert tail.threshold(window(1.0), 6.0).height == pytest.approx(8.0)


@pytest.mark.parametrize(
    ("scale", "used"), [(1.4, 1.0), (1.41, 1.41), (1 / 1.39, 1.0), (1 / 1.41, 1 / 1.41), (1.0, 1.0)]
)
def test_the_usual_scale_counts_unless_the_noise_has_changed(scale: float, used: float) -> None:
    doubt = after(*[(0.0, 1.0)] * 3).threshold(window(scale), 6.0)
    assert doubt.height == pytest.approx(6.0 * used)


def test_the_usual_scale_is_that_of_the_nine_newest_blocks() -> None:
    assert after(*[(0.0, 1.2)] * 5, *[(0.0, 1.0)] * 5).threshold(window(1.1), 6.0).height == pytest.approx(6.0)
    assert after(*[(0.0, 1.2)] * 6, *[(0.0, 1.0)] * 4).threshold(window(1.1), 6.0).height == pytest.approx(7.2)


def test_forty_nine_blocks_are_remembered() -> None:
    assert after(*[(0.9, 1.0)] * 25, *[(0.8, 1.0)] * 25).threshold(window(1.0), 1.0).height == pytest.approx(1.28)
    assert after(*[(0.9, 1.0)] * 26, *[(0.8, 1.0)] * 24).threshold(window(1.0), 1.0).height == pytest.approx(1.44)


def test_blocks_of_logarithms_say_nothing_on_plain_values() -> None:
    tail = after(*[(5.0, 1.0)] * 3)
    assert tail.threshold(window(1.0, logarithmic=False), 6.0).height == 6.0
    for _ in range(3):
        tail.note(4.0)
        tail.note_scales(window(1.0, logarithmic=False))
        tail.end_block(EVEN)
    assert tail.threshold(window(1.0, logarithmic=False), 6.0).height == pytest.approx(6.4)
    assert tail.threshold(window(1.0), 6.0).height == pytest.approx(8.0)


def test_a_block_of_both_says_nothing_and_is_forgotten() -> None:
    tail = after(*[(5.0, 1.0)] * 2)
    tail.note(5.0)
    tail.note_scales(window(1.0))
    tail.note_scales(window(1.0, logarithmic=False))
    tail.end_block(EVEN)
    assert tail.threshold(window(1.0), 6.0).height == 6.0
    tail.note(4.0)
    tail.note_scales(window(1.0))
    tail.end_block(EVEN)
    assert tail.threshold(window(1.0), 6.0).height == pytest.approx(8.0)


@pytest.mark.parametrize(("newest", "echo"), [(WAVE, 0.48), (np.repeat([1.0, -1.0], 5000), 0.5), (EVEN, 0.0)])
def test_the_echo_that_the_carry_over_leaves(newest: np.ndarray, echo: float) -> None:
    assert after(*[(0.0, 1.0)] * 3, newest=newest).threshold(window(1.0), 6.0).echo == pytest.approx(echo, abs=1e-3)


@pytest.mark.parametrize(
    ("values", "carried"),
    [
        ([1.0, 1.0, -1.0, -1.0], 0.5),
        ([0.0, 1.0, 2.0, 3.0, 100.0], (2 + 1.4826 * 3) / (4 + 1 + 1 + (1.4826 * 3) ** 2)),
        ([100.0, 3.0, 2.0, 1.0, -96.0], (2 * 1.4826 * 3) / (2 * (1.4826 * 3) ** 2 + 2)),
    ],
)
def test_carry_over_by_hand(values: list[float], carried: float) -> None:
    assert carry_over(np.array(values)) == pytest.approx(carried)
