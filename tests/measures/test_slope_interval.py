"""The interval of a slope holds it as often as it says, whatever the correlation of the noise."""

import math

import numpy as np
import pytest

from mhcdiag.measures.slope_interval import slope_interval, student_probability, student_quantile

RATE = 0.01


def correlated(generator: np.random.Generator, points: int, correlation: float) -> np.ndarray:
    drawn = generator.standard_normal(points)
    drawn[0] /= math.sqrt(1 - correlation**2)
    for at in range(1, points):
        drawn[at] += correlation * drawn[at - 1]
    return drawn


def share_held(points: int, correlation: float, runs: int = 200) -> float:
    generator = np.random.default_rng(points)
    x = np.arange(points) * 131.0
    held = 0
    for _ in range(runs):
        found = slope_interval(x, RATE * x + correlated(generator, points, correlation))
        held += found.low <= RATE <= found.high
    return held / runs


@pytest.mark.parametrize(("points", "correlation"), [(5, 0.8), (10, 0.0), (10, 0.8), (40, 0.8)])
def test_the_interval_holds_the_rate_in_nine_of_ten_runs(points: int, correlation: float):
    """Student's own interval holds it in 59 to 79 % of them under a correlation of 0.8."""
    assert share_held(points, correlation) >= 0.90


def test_the_interval_is_no_wider_than_it_must_be():
    """White noise at 100 points: within 20 % of Student's interval, which is exact there."""
    generator = np.random.default_rng(0)
    x = np.arange(100.0)
    wider = []
    for _ in range(100):
        y = generator.standard_normal(100)
        found = slope_interval(x, y)
        residuals = y - np.polyval(np.polyfit(x, y, 1), x)
        half = student_quantile(0.975, 98) * math.sqrt((residuals**2).sum() / 98 / ((x - x.mean()) ** 2).sum())
        wider.append((found.high - found.low) / (2 * half))
    assert 1.0 < np.median(wider) < 1.2


def by_matrices(x: np.ndarray, y: np.ndarray, phi: float) -> tuple[float, float, float]:
    """Generalised least squares by the book: the whole covariance matrix, inverted."""
    distance = abs(x[:, None] - x[None]) / np.median(np.diff(x))
    covariance = phi**distance
    design = np.stack([np.ones_like(x), x], axis=1)
    normal = design.T @ np.linalg.solve(covariance, design)
    solved = np.linalg.solve(normal, design.T @ np.linalg.solve(covariance, y))
    residuals = y - design @ solved
    square = residuals @ np.linalg.solve(covariance, residuals)
    freedom = len(x) - 2
    log = -(np.linalg.slogdet(covariance)[1] + np.linalg.slogdet(normal)[1] + freedom * math.log(square)) / 2
    return solved[1], math.sqrt(square / freedom * np.linalg.inv(normal)[1, 1]), log


@pytest.mark.parametrize("steps", [[0, 1, 2, 3, 4, 5, 6, 7], [0, 100, 150, 400, 420, 1000, 1010], [3.0, 4.0, 7.5]])
def test_the_ends_are_quantiles_of_the_mixture(steps: list[float]):
    """5 % of the probability of all fits lies outside, half of it on either side; steps need not be even."""
    x = np.array(steps, dtype=float)
    y = 0.02 * x + correlated(np.random.default_rng(3), len(x), 0.5)
    fits = np.array([by_matrices(x, y, math.sin((k + 0.5) / 40 * math.pi / 2)) for k in range(40)])
    weights = np.exp(fits[:, 2] - fits[:, 2].max())
    weights /= weights.sum()
    found = slope_interval(x, y)
    for end, below in ((found.low, 0.025), (found.high, 0.975)):
        inside = student_probability((end - fits[:, 0]) / fits[:, 1], len(x) - 2)
        assert (weights * inside).sum() == pytest.approx(below, abs=1e-6)


def test_correlated_noise_widens_the_interval():
    x = np.arange(40.0)
    wave = np.sin(x / 6)
    shuffled = np.random.default_rng(1).permutation(wave)
    widths = [(found := slope_interval(x, 0.1 * x + each)).high - found.low for each in (wave, shuffled)]
    assert widths[0] > 1.3 * widths[1]


def test_noise_that_alternates_does_not_narrow_the_interval():
    x = np.arange(20.0)
    y = 0.1 * x + (-1.0) ** x
    residuals = y - np.polyval(np.polyfit(x, y, 1), x)
    half = student_quantile(0.975, 18) * math.sqrt((residuals**2).sum() / 18 / ((x - x.mean()) ** 2).sum())
    found = slope_interval(x, y)
    assert (found.high - found.low) / 2 > 0.95 * half


def test_the_rate_is_that_of_least_squares_and_inside():
    generator = np.random.default_rng(2)
    for points in (3, 4, 9):
        for _ in range(50):
            x = np.cumsum(generator.uniform(1, 500, points))
            y = np.cumsum(generator.standard_normal(points))
            found = slope_interval(x, y)
            assert found.rate == pytest.approx(np.polyfit(x, y, 1)[0], rel=1e-6, abs=1e-12)
            assert found.low <= found.rate <= found.high


def test_shifting_and_stretching_steps_changes_nothing_but_the_unit():
    x = np.array([0.0, 1.0, 2.0, 4.0, 5.0, 7.0])
    y = correlated(np.random.default_rng(0), 6, 0.5)
    near, far = slope_interval(x, y), slope_interval(1e6 + 1000 * x, y)
    assert (far.low * 1000, far.high * 1000) == pytest.approx((near.low, near.high), rel=1e-6)


def test_a_long_series_is_fitted_in_parts():
    """Ten million numbers at a time would not fit where a log has as many rows."""
    x = np.arange(200_000.0)
    y = 1e-4 * x + np.random.default_rng(0).standard_normal(len(x))
    found = slope_interval(x, y)
    assert found.low < 1e-4 < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 * math.sqrt(12 / len(x) ** 3), rel=0.05)


@pytest.mark.parametrize("points", [3, 10, 40])
def test_a_line_without_deviation_has_an_interval_of_no_width(points: int):
    found = slope_interval(np.arange(float(points)), np.ones(points))
    assert (found.rate, found.low, found.high) == (0, 0, 0)


def test_two_points_have_no_interval():
    found = slope_interval(np.array([10.0, 20.0]), np.array([0.0, 5.0]))
    assert found.rate == pytest.approx(0.5)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_neighbours_of_almost_one_step_divide_nothing_by_zero():
    found = slope_interval(np.array([0.0, 1e-13, 1.0, 2.0, 3.0]), np.array([0.0, 0.1, 1.0, 2.1, 2.9]))
    assert found.low < 1.0 < found.high


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 8, 30, 59, 60, 61, 500])
@pytest.mark.parametrize("t", [-3.0, -0.4, 0.0, 1.0, 2.5])
def test_the_distribution_is_student_s(freedom: int, t: float):
    """By integrating the density."""
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(freedom * math.pi)
    at = np.linspace(0.0, t, 20001)
    density = scale * (1 + at**2 / freedom) ** (-(freedom + 1) / 2)
    expected = 0.5 + ((density[1:] + density[:-1]) / 2 * np.diff(at)).sum()
    assert student_probability(np.array([t]), freedom)[0] == pytest.approx(expected, abs=4e-5 if freedom > 60 else 1e-7)


@pytest.mark.parametrize(("freedom", "entry"), [(1, 12.706), (2, 4.303), (5, 2.571), (30, 2.042), (1000, 1.962)])
def test_quantiles_are_those_of_the_tables(freedom: int, entry: float):
    assert student_quantile(0.975, freedom) == pytest.approx(entry, abs=6e-4)
    assert student_quantile(0.025, freedom) == pytest.approx(-entry, abs=6e-4)
