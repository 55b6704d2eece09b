"""A planted growth is found again, with the step at which it crosses a limit."""

import math

import numpy as np
import pytest

from mhcdiag.results.numbers import Huge
from mhcdiag.trend.fitting import fit_growth, project

STEPS = [float(step) for step in range(0, 1310, 131)]


def planted(rate: float, *, start: float = 2.0, noise: float = 0.0, seed: int = 0) -> list[float]:
    deviations = noise * np.random.default_rng(seed).standard_normal(len(STEPS))
    return [start * math.exp(rate * step + d) for step, d in zip(STEPS, deviations, strict=True)]


@pytest.mark.parametrize("rate", [0.003, 1e-5, -0.002])
def test_a_planted_rate_is_recovered(rate: float):
    growth = fit_growth(STEPS, planted(rate))
    assert growth.rate == pytest.approx(rate, rel=1e-9)
    assert growth.low <= rate * (1 + 1e-9) if rate > 0 else growth.low <= rate * (1 - 1e-9)
    assert growth.doubling_steps() == pytest.approx(math.log(2) / rate)


def test_the_planted_crossing_is_recovered():
    gains = planted(0.003)
    growth = fit_growth(STEPS, gains)
    crossing = project(STEPS, gains, growth, name="1000", limit=1000.0)
    assert crossing.passed is None
    assert crossing.expected == pytest.approx(math.log(1000 / 2) / 0.003, rel=1e-6)
    assert project(STEPS, gains, growth, name="30", limit=30.0).passed == 917.0


def test_the_interval_holds_the_rate_as_often_as_it_says():
    """95 % of 400 intervals; between 91 and 99 % with a probability of 0.9997."""
    inside = sum(
        growth.low <= 0.004 <= growth.high
        for seed in range(400)
        if (growth := fit_growth(STEPS, planted(0.004, noise=0.3, seed=seed), fit_from=400.0))
    )
    assert 364 <= inside <= 396


def test_scaling_all_gains_changes_no_rate():
    gains = planted(0.002, noise=0.1)
    scaled = [7 * gain for gain in gains]
    assert fit_growth(STEPS, scaled).rate == pytest.approx(fit_growth(STEPS, gains).rate)


def test_stretching_the_steps_divides_the_rate():
    gains = planted(0.002, noise=0.1)
    stretched = [3 * step for step in STEPS]
    assert fit_growth(stretched, gains).rate == pytest.approx(fit_growth(STEPS, gains).rate / 3)


def test_the_fit_takes_the_later_half():
    gains = [1.0] * 5 + [math.exp(0.01 * (step - STEPS[5])) for step in STEPS[5:]]
    growth = fit_growth(STEPS, gains)
    assert growth.first_step == STEPS[5]
    assert growth.rate == pytest.approx(0.01)
    assert fit_growth(STEPS, gains, fit_from=0.0).rate < 0.01


def test_numbers_beyond_float64_are_fitted():
    gains = [Huge(310 + 0.1 * at) for at in range(len(STEPS))]
    assert fit_growth(STEPS, gains).rate == pytest.approx(0.1 * math.log(10) / 131)


def test_nan_is_left_out_of_the_fit_but_passes_every_limit():
    gains = planted(0.001)
    gains[8] = math.nan
    growth = fit_growth(STEPS, gains)
    assert growth.rate == pytest.approx(0.001)
    assert project(STEPS, gains, growth, name="1000", limit=1000.0).passed == STEPS[8]


def test_two_points_give_a_rate_without_an_interval():
    growth = fit_growth([10.0, 20.0], [1.0, 2.0])
    assert growth.doubling_steps() == pytest.approx(10)
    assert math.isnan(growth.low)
    assert growth.grows()
    crossing = project([10.0, 20.0], [1.0, 2.0], growth, name="30", limit=30.0)
    assert crossing.expected == pytest.approx(10 + 10 * math.log2(30))
    assert crossing.earliest is None


def test_without_growth_there_is_no_crossing():
    gains = planted(-0.001)
    crossing = project(STEPS, gains, fit_growth(STEPS, gains), name="1000", limit=1000.0)
    assert (crossing.passed, crossing.expected) == (None, None)


def test_one_usable_point_gives_no_rate():
    assert math.isnan(fit_growth([1.0, 2.0], [math.nan, 3.0]).rate)


def test_correlated_residuals_widen_the_interval():
    steps = [float(step) for step in range(40)]
    wave = [math.exp(0.1 * step + math.sin(step / 6)) for step in steps]
    noise = np.random.default_rng(1).permutation([math.sin(step / 6) for step in steps])
    shuffled = [math.exp(0.1 * step + float(d)) for step, d in zip(steps, noise, strict=True)]
    widths = [(g := fit_growth(steps, gains, fit_from=0.0)).high - g.low for gains in (wave, shuffled)]
    assert widths[0] > 2 * widths[1]
