"""Norm weights: extreme, dead, negative and broken ones, at their limits."""

from math import inf, nan

import numpy as np
import pytest
from health_checks.subjects import plain, run, said, speaks_above, subject, whats

from mhcdiag.health_checks.families.norms import CHECK as norms

SIZE = 20


def weight(*changed: float) -> np.ndarray:
    """Ones but for the first few."""
    found = np.ones(SIZE)
    found[: len(changed)] = changed
    return found


def model(*weights):
    return subject(plain=plain(norms={f"n{i}": list(each) for i, each in enumerate(weights)}))


def test_numbers_are_the_worst_over_norms():
    outcome = run(norms, model(weight(-3.0), weight(0.0005, 0.001), weight(2.0)))
    numbers = {"broken": 0.0, "extreme": 3.0, "dead": 0.1, "negative": 0.05, "level_off": 1.0, "smallest_level": 1.0}
    assert outcome.overall == numbers
    assert outcome.findings == ()


@pytest.mark.parametrize(
    ("value", "severity"), [(50.0, None), (-50.1, "note"), (500.0, "note"), (500.1, "warn"), (-501.0, "warn")]
)
def test_extremes_are_sizes_over_the_median(value: float, severity: str | None):
    outcome = run(norms, model(weight(), weight(value) * 4, weight()))
    assert said(outcome) == ([] if severity is None else [(severity, "n1", 1)])


@pytest.mark.parametrize(
    ("dead", "warned"),
    [
        ((0.001, -0.001), False),  # a tenth of the channels
        ((0.001, -0.001, 0.0), True),
        ((0.001, 0.0, 0.00101), False),
    ],
)
def test_dead_channels_are_those_under_a_thousandth_of_the_median(dead, warned: bool):
    outcome = run(norms, model(weight(), weight(*dead)))
    assert said(outcome) == ([("warn", "n1", 1)] if warned else [])
    if warned:
        assert whats(outcome) == ["0.15 of the weights are under 0.001 of the median (> 0.1)"]


def test_dead_is_relative_to_the_median():
    assert run(norms, model(weight(0.004, 0.004, 0.004) * 8), dead=0.005).overall["dead"] == 0.15
    assert run(norms, model(weight(0.004, 0.004, 0.004) / 8), dead=0.003).overall["dead"] == 0.0


@pytest.mark.parametrize(("count", "noted"), [(5, False), (6, True)])
def test_more_than_a_quarter_of_negative_weights_is_noted(count: int, noted: bool):
    outcome = run(norms, model(weight(), weight(*[-1.0] * count)))
    assert said(outcome) == ([("note", "n1", 1)] if noted else [])


def test_zero_is_not_negative():
    assert run(norms, model(weight(0.0))).overall["negative"] == 0.0


def test_exactly_the_limits_pass():
    of = model(weight(-2.0))
    assert speaks_above(norms, of, "extreme_note", 2.0) == [True, False, False]
    assert speaks_above(norms, of, "extreme_warn", 2.0) == [True, False, False]
    assert speaks_above(norms, of, "negative_note", 0.05) == [True, False, False]
    assert speaks_above(norms, model(weight(0.0)), "dead_warn", 0.05) == [True, False, False]


def test_a_norm_of_zeros_is_dead_and_divides_nothing_by_zero():
    outcome = run(norms, model(np.zeros(SIZE)))
    assert (outcome.overall["extreme"], outcome.overall["dead"]) == (1.0, 1.0)
    assert whats(outcome)[-1] == "its median is 0 (< 0.0001)"


def test_a_median_of_zero_is_told_in_words():
    half = np.zeros(SIZE)
    half[:9] = 0.5
    outcome = run(norms, model(half))
    assert whats(outcome)[0] == "more than half of the weights are zero, others are not"
    assert outcome.overall["extreme"] == inf


@pytest.mark.parametrize("value", [nan, inf, -inf])
@pytest.mark.parametrize("position", range(3))
def test_one_broken_weight_is_a_failure(position: int, value: float):
    weights = [weight(), weight(), weight()]
    weights[position][-1] = value
    outcome = run(norms, model(*weights, weight(nan)))
    assert said(outcome) == [("fail", f"n{position}", 2)]
    assert outcome.overall == {"broken": 2.0}


def test_what_cannot_be_read_says_why():
    assert run(norms, subject()).not_checkable == "read for models with one residual stream only"
    assert run(norms, model()).not_checkable == "no norm weights under a known name"
