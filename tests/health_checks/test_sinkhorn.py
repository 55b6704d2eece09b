"""Residuals, composite sums, predicted iterations and logit ranges, at their thresholds."""

from dataclasses import replace
from math import inf, log

import numpy as np
import pytest
from health_checks.subjects import (
    SITES,
    TOKENS,
    parameters,
    random_maps,
    run,
    said,
    speaks_above,
    stochastic_maps,
    subject,
    whats,
)
from reference import composite

from mhcdiag.health_checks.families.sinkhorn import CHECK as sinkhorn
from mhcdiag.results.gain import Direction

FORWARD, BACKWARD = frozenset({Direction.FORWARD}), frozenset({Direction.BACKWARD})
QUIET = {f"{number}_{word}": inf for number in ("residual", "log_sum") for word in ("note", "warn", "fail")}
LOUD_SUMS = {name: limit for name, limit in QUIET.items() if name.startswith("residual")}
LOUD_RESIDUALS = {name: limit for name, limit in QUIET.items() if name.startswith("log_sum")}


def mixing(stay: float) -> np.ndarray:
    """A doubly stochastic matrix whose second singular value is |2 stay - 1|."""
    return np.array([[stay, 1 - stay], [1 - stay, stay]])


def columns_off(excess: float) -> np.ndarray:
    """Rows sum to 1, columns to 1 + excess and 1 - excess."""
    return np.array([[0.5 + excess / 2, 0.5 - excess / 2]] * 2)


@pytest.mark.parametrize("exact", [frozenset(), FORWARD | BACKWARD])
def test_only_an_iteration_that_ends_on_one_side_is_checked(exact):
    outcome = run(sinkhorn, subject(stochastic_maps(), exact=exact))
    assert outcome.not_checkable == "no Sinkhorn iteration ends on one side here"


@pytest.mark.parametrize(("exact", "axis", "side"), [(FORWARD, -2, "column"), (BACKWARD, -1, "row")])
def test_the_residual_is_that_of_the_other_side(exact, axis: int, side: str):
    maps = random_maps()
    outcome = run(sinkhorn, subject(maps, exact=exact))
    expected = abs(maps.sum(axis=axis) - 1).max(axis=-1).mean(axis=-1)
    assert outcome.per_site["residual"] == pytest.approx(tuple(expected))
    assert outcome.findings[0].what.startswith(f"{side} sums are off by {max(expected):.3g} (> 1); ")
    assert outcome.findings[0].site == f"site {expected.argmax()}"


@pytest.mark.parametrize(("exact", "axis"), [(FORWARD, 0), (BACKWARD, 1)])
def test_log_sums_are_those_of_the_whole_model(exact, axis: int):
    maps = random_maps()
    products = [composite(maps, token, 0, SITES - 1) for token in range(TOKENS)]
    expected = np.mean([abs(np.log(abs(product.sum(axis=axis)))).max() for product in products])
    assert run(sinkhorn, subject(maps, exact=exact)).overall == pytest.approx({"log_sum": expected})


@pytest.mark.parametrize(
    ("excess", "severity"),
    [(9.9e-4, None), (1.01e-3, "note"), (0.0499, "note"), (0.0501, "warn"), (0.999, "warn"), (1.001, "fail")],
)
def test_residuals_are_judged_by_default(excess: float, severity: str | None):
    maps = [mixing(0.75), columns_off(excess), columns_off(-excess / 2)]
    outcome = run(sinkhorn, subject(maps, exact=FORWARD), **LOUD_RESIDUALS)
    count = 1 if excess in (1.01e-3, 0.0501, 1.001) else 2
    assert said(outcome) == ([] if severity is None else [(severity, "site 1", count)])


@pytest.mark.parametrize("limit", ["residual_note", "residual_warn", "residual_fail"])
def test_a_residual_of_exactly_the_limit_passes(limit: str):
    of = subject(stochastic_maps(), exact=FORWARD)
    worst = max(run(sinkhorn, of).per_site["residual"])
    others = QUIET | {limit: 0.0}
    del others[limit]
    assert speaks_above(sinkhorn, of, limit, worst, **others) == [True, False, False]


@pytest.mark.parametrize(
    ("factor", "severity"),
    [
        (2.99, None),
        (3.01, "note"),
        (29.9, "note"),
        (30.1, "warn"),
        (999.0, "warn"),
        (1001.0, "fail"),
        (0.41, None),
        (0.33, "note"),
        (0.03, "warn"),
        (9.9e-4, "fail"),
    ],
)
def test_composite_sums_are_judged_by_their_log(factor: float, severity: str | None):
    outcome = run(sinkhorn, subject([mixing(0.75) * factor], exact=FORWARD), **LOUD_SUMS)
    assert said(outcome) == ([] if severity is None else [(severity, "", 0)])
    assert all(what.startswith("over the whole model a sum is off by a factor e^") for what in whats(outcome))


@pytest.mark.parametrize("limit", ["log_sum_note", "log_sum_warn", "log_sum_fail"])
def test_a_log_sum_of_exactly_the_limit_passes(limit: str):
    of = subject(stochastic_maps(), exact=FORWARD)
    others = {name: value for name, value in QUIET.items() if name != limit}
    assert speaks_above(sinkhorn, of, limit, run(sinkhorn, of).overall["log_sum"], **others) == [True, False, False]


@pytest.mark.parametrize(
    ("stay", "needed"),
    [(0.75, log(1e-3) / (2 * log(0.5))), (0.95, log(1e-3) / (2 * log(0.9))), (1.0, inf), (0.5, 1.0), (0.51, 1.0)],
)
def test_iterations_needed_follow_from_the_second_singular_value(stay: float, needed: float):
    outcome = run(sinkhorn, subject([mixing(stay)], exact=FORWARD))
    assert outcome.per_site["iterations_needed"] == pytest.approx((needed,), rel=1e-9)


def test_the_token_that_converges_slowest_decides():
    outcome = run(sinkhorn, subject([[mixing(0.6), mixing(0.9), mixing(0.7)]], exact=FORWARD), tolerance=0.01)
    assert outcome.per_site["iterations_needed"] == pytest.approx((log(0.01) / (2 * log(0.8)),))


def test_one_stream_needs_one_iteration():
    assert run(sinkhorn, subject(np.ones((2, 1, 1)), exact=FORWARD)).per_site["iterations_needed"] == (1.0, 1.0)


def test_the_prediction_is_the_rate_at_which_an_iteration_converges():
    """Both ways: neither more nor fewer iterations than the residual's own decay says."""
    matrix = np.exp(np.random.default_rng(3).standard_normal((5, 5)) * 1.5)
    residuals = []
    for _ in range(60):
        matrix = matrix / matrix.sum(axis=0)
        matrix = matrix / matrix.sum(axis=1, keepdims=True)
        residuals.append(abs(matrix.sum(axis=0) - 1).max())
    decays = residuals[20] / residuals[19]
    (needed,) = run(sinkhorn, subject([matrix], exact=FORWARD)).per_site["iterations_needed"]
    assert needed * log(decays) == pytest.approx(log(1e-3), rel=0.01)


@pytest.mark.parametrize(
    ("stays", "words"),
    [
        ((0.75, 0.95, 0.6), "; about 33 iterations would do"),
        ((0.75, 1.0), "; no number of iterations can be predicted to do"),
    ],
)
def test_the_most_iterations_of_any_site_are_advised(stays, words: str):
    maps = [mixing(stay) for stay in stays]
    outcome = run(sinkhorn, subject(maps, exact=FORWARD), residual_warn=-1.0)
    assert outcome.findings[0].what.endswith(words)


@pytest.mark.parametrize(
    ("spread", "severity"),
    [(10.0, None), (10.1, "note"), (20.0, "note"), (20.1, "warn"), (87.0, "warn"), (87.1, "fail")],
)
def test_logit_ranges_have_three_limits(spread: float, severity: str | None):
    base = np.zeros((3, 2, 2))
    base[1] = [[spread / 2, 1.0], [2.0, -spread / 2]]
    base[2] = [[0.0, -1.0], [2.0, 0.5]]
    outcome = run(sinkhorn, subject([mixing(0.75)] * 3, exact=FORWARD, parameters=parameters(base)))
    assert outcome.per_site["logit_range"] == pytest.approx((0.0, spread, 3.0))
    assert said(outcome) == ([] if severity is None else [(severity, "site 1", 1)])


def test_logits_are_divided_by_the_temperature():
    logits = parameters([[[0.0, 6.0], [1.0, 2.0]]])
    of = subject([mixing(0.75)], exact=FORWARD, parameters=logits, temperature=0.25)
    assert run(sinkhorn, of).per_site["logit_range"] == (24.0,)


def test_coefficients_and_captured_mappings_have_no_logit_range():
    of = subject([mixing(0.75)], exact=FORWARD)
    assert "logit_range" not in run(sinkhorn, of).per_site
    row = parameters([[[0.0, 100.0]]])
    assert "logit_range" not in run(sinkhorn, replace(of, parameters=row)).per_site
    assert "logit_range" in run(sinkhorn, replace(of, parameters=parameters([np.zeros((2, 2))]))).per_site
