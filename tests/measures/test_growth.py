"""A planted growth is found again, with the step at which it crosses a limit."""

import math

import numpy as np
import pytest

from mhcdiag.measures.growth import fit_growth, project
from mhcdiag.results.numbers import Huge
from mhcdiag.results.trend import Growth

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


def test_scaling_all_gains_changes_no_rate():
    gains = planted(0.002, noise=0.1)
    scaled = [7 * gain for gain in gains]
    assert fit_growth(STEPS, scaled).rate == pytest.approx(fit_growth(STEPS, gains).rate)


def test_stretching_the_steps_divides_the_rate():
    gains = planted(0.002, noise=0.1)
    stretched = [3 * step for step in STEPS]
    assert fit_growth(stretched, gains).rate == pytest.approx(fit_growth(STEPS, gains).rate / 3)


def test_the_fit_takes_the_later_half():
    steps = [float(step) for step in range(0, 1310, 100)]
    gains = [1.0] * 7 + [math.exp(0.01 * (step - steps[7])) for step in steps[7:]]
    growth = fit_growth(steps, gains)
    assert growth.first_step == steps[7]
    assert growth.rate == pytest.approx(0.01)
    assert fit_growth(steps, gains, fit_from=0.0).rate < 0.01


def test_gains_that_double_from_checkpoint_to_checkpoint_stand_out():
    """Six checkpoints of a run that explodes, with deviations of a factor of two."""
    gains = [2.0**at * factor for at, factor in enumerate((1.0, 2.0, 0.7, 1.6, 1.0, 1.9))]
    assert fit_growth([50.0 * at for at in range(1, 7)], gains).grows()


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


# Exact numbers


def exp(*logs: float) -> list[float]:
    return [math.exp(each) for each in logs]


@pytest.mark.parametrize("count", [3, 10, 12, 40])
def test_gains_without_any_deviation_have_an_interval_of_no_width(count: int):
    growth = fit_growth([float(at) for at in range(count)], [1.0] * count, fit_from=0.0)
    assert (growth.rate, growth.low, growth.high, growth.points) == (0, 0, 0, count)


@pytest.mark.parametrize(
    ("steps", "fit_from", "first", "points"),
    [
        ([*range(0, 1300, 100)], None, 600, 7),  # the middle belongs to the later half
        ([*range(0, 600, 100), 599, *range(700, 1300, 100)], None, 700, 6),
        ([*range(0, 700, 100), 1000, 1100, 1200], None, 400, 6),  # at least six
        ([0, 100, 200, 300, 400, 500, 800], None, 100, 6),
        ([0, 100, 200, 300, 800], None, 0, 5),
        ([100, 200, 300], None, 100, 3),
        ([*range(1000, 2300, 100)], None, 1600, 7),
        ([0, 100, 200, 300, 400, 500, 600, 700, 800], 600.0, 600, 3),
        ([0, 100, 200, 300, 400, 500, 600, 700, 800], 601.0, 700, 2),
        ([0, 100, 200, 300, 400, 500, 600, 700, 800], 0.0, 0, 9),
    ],
)
def test_which_points_are_fitted(steps: list[int], fit_from: float | None, first: int, points: int):
    growth = fit_growth([float(step) for step in steps], [2.0] * len(steps), fit_from=fit_from)
    assert (growth.first_step, growth.last_step, growth.points) == (first, steps[-1], points)


@pytest.mark.parametrize("bad", [0.0, math.nan, math.inf])
def test_what_has_no_finite_logarithm_is_no_point(bad: float):
    growth = fit_growth([0.0, 1.0, 2.0, 3.0], [1.0, math.e, bad, math.e**3], fit_from=0.0)
    assert growth.points == 3
    assert growth.rate == pytest.approx(1.0)


@pytest.mark.parametrize(("gains", "points"), [([math.nan, 3.0], 1), ([math.nan, math.nan], 0)])
def test_fewer_than_two_points_are_no_line(gains: list[float], points: int):
    growth = fit_growth([1.0, 2.0], gains, fit_from=1.5)
    assert growth.points == points
    assert all(math.isnan(each) for each in (growth.rate, growth.low, growth.high))
    assert (growth.first_step, growth.last_step) == (1.5, 1.5)
    crossing = project([1.0, 2.0], [2.0, 3.0], growth, name="30", limit=30.0)
    assert (crossing.passed, crossing.expected, crossing.earliest, crossing.latest) == (None, None, None, None)


def a_growth(rate: float, *, low: float, high: float, first: float = 0.0, last: float = 2.0) -> Growth:
    return Growth(rate=rate, low=low, high=high, points=3, first_step=first, last_step=last)


def test_the_crossing_of_each_rate_by_hand():
    """The line goes through the mean point: ln(gain) 1 at step 1."""
    gains = exp(0.0, 1.0, 2.0)
    crossing = project([0.0, 1.0, 2.0], gains, a_growth(1.0, low=0.5, high=2.0), name="x", limit=math.exp(9.0))
    assert (crossing.name, crossing.limit, crossing.passed) == ("x", math.exp(9.0), None)
    assert crossing.expected == pytest.approx(1 + 8 / 1)
    assert crossing.earliest == pytest.approx(1 + 8 / 2)
    assert crossing.latest == pytest.approx(1 + 8 / 0.5)


def test_only_fitted_points_have_a_say_in_the_mean():
    steps, gains = [0.0, 1.0, 2.0, 3.0, 4.0], exp(-7.0, 0.0, 1.0, 2.0, 5.0)
    growth = a_growth(1.0, low=1.0, high=1.0, first=1.0, last=3.0)
    assert project(steps, gains, growth, name="x", limit=math.exp(9.0)).expected == pytest.approx(2 + 8)


def test_a_gain_of_zero_has_no_say_in_the_mean():
    gains = [*exp(0.0), 0.0, *exp(2.0)]
    growth = a_growth(1.0, low=1.0, high=1.0)
    assert project([0.0, 1.0, 2.0], gains, growth, name="x", limit=math.exp(9.0)).expected == pytest.approx(1 + 8)


@pytest.mark.parametrize(
    ("rate", "low", "high", "expected", "earliest", "latest"),
    [
        (1.0, 0.0, 2.0, 9.0, 5.0, None),
        (1.0, -1.0, 2.0, 9.0, 5.0, None),
        (0.0, -1.0, 1.0, None, 9.0, None),
        (-1.0, -2.0, 0.0, None, None, None),
        (1.0, math.nan, math.nan, 9.0, None, None),
        (math.nan, math.nan, math.nan, None, None, None),
        (math.inf, 1.0, 2.0, None, None, None),
    ],
)
def test_a_rate_that_does_not_grow_crosses_nothing(rate, low, high, expected, earliest, latest):
    growth = a_growth(rate, low=low, high=high)
    crossing = project([0.0, 1.0, 2.0], exp(0.0, 1.0, 2.0), growth, name="x", limit=math.exp(9.0))
    found = (crossing.expected, crossing.earliest, crossing.latest)
    assert found == tuple(each if each is None else pytest.approx(each) for each in (expected, earliest, latest))


def test_a_line_that_crossed_in_the_past_crosses_at_the_last_step():
    """The newest gains lie below the fitted line, which is above the limit already."""
    steps, gains = [0.0, 1.0, 2.0, 3.0], exp(0.0, 3.0, 2.9, 3.0)
    growth = fit_growth(steps, gains)
    crossing = project(steps, gains, growth, name="x", limit=math.exp(3.1))
    assert math.log(crossing.limit) < 8.9 / 4 + growth.rate * 1.5, "the line is above the limit at the last step"
    assert crossing.passed is None
    assert (crossing.expected, crossing.earliest) == (3.0, 3.0)


@pytest.mark.parametrize(
    ("gains", "passed"),
    [
        ([1.0, 30.0, 30.0], None),
        ([1.0, math.nextafter(30.0, 31.0), 2.0], 1.0),
        ([31.0, 40.0, 2.0], 0.0),
        ([1.0, 2.0, math.inf], 2.0),
        ([1.0, math.nan, 31.0], 1.0),
        ([1.0, 2.0, Huge(400.0)], 2.0),
    ],
)
def test_the_first_gain_above_the_limit_has_passed_it(gains: list, passed: float | None):
    growth = a_growth(-1.0, low=-1.0, high=-1.0)
    crossing = project([0.0, 1.0, 2.0], gains, growth, name="30", limit=30.0)
    assert (crossing.passed, crossing.expected) == (passed, None)
