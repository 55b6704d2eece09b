"""DeepNorm's factors against the formulas of arXiv 2203.00555 for decoders."""

import pytest
from health_checks.subjects import plain, run, said, speaks_above, subject, whats

from mhcdiag.health_checks.families.deepnorm import CHECK as deepnorm
from mhcdiag.weight_readers.records import DeepNormScales

LAYERS = 8
ALPHA, BETA = 2.0, 8**-0.5
"""16^(1/4) and 64^(-1/4)."""


def model(alpha: float | None = None, gain: float | None = None):
    return subject(plain=plain(deepnorm=DeepNormScales(layers=LAYERS, alpha=alpha, gain=gain)))


def test_the_expected_factors_are_those_of_the_paper():
    assert run(deepnorm, model()).overall == pytest.approx({"alpha_expected": ALPHA, "beta_expected": BETA})
    found = run(deepnorm, model(2.05, 0.5)).overall
    assert (found["alpha"], found["gain"]) == (2.05, 0.5)


@pytest.mark.parametrize(("alpha", "warned"), [(2.099, False), (2.101, True), (1.901, False), (1.899, True)])
def test_alpha_may_be_off_by_five_percent(alpha: float, warned: bool):
    assert said(run(deepnorm, model(alpha))) == ([("warn", "", 0)] if warned else [])


@pytest.mark.parametrize(("times", "warned"), [(1.99, False), (2.01, True), (0.51, False), (0.49, True), (0.0, True)])
def test_the_gain_may_be_off_by_a_factor_of_two(times: float, warned: bool):
    assert said(run(deepnorm, model(ALPHA, BETA * times))) == ([("warn", "", 0)] if warned else [])


def test_exactly_the_limits_pass():
    assert speaks_above(deepnorm, model(2.5), "alpha", 0.25) == [True, False, False]
    assert [bool(run(deepnorm, model(gain=BETA * 4), gain_factor=f).findings) for f in (3.99, 4.01)] == [True, False]


def test_what_is_said_holds_both_numbers():
    assert whats(run(deepnorm, model(1.0, 1.0))) == [
        "alpha is 1, (2N)^1/4 = 2 for N = 8 blocks",
        "writers have 1 times the gain of queries and keys, (8N)^-1/4 = 0.354",
    ]


def test_what_cannot_be_read_says_why():
    assert run(deepnorm, subject()).not_checkable == "read for models with one residual stream only"
    assert run(deepnorm, subject(plain=plain())).not_checkable == "the configuration says no DeepNorm"
