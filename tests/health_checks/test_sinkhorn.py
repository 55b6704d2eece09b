"""Residuals, composite sums, predicted iterations and logit ranges, at their thresholds."""

from dataclasses import replace
from math import inf

import numpy as np
import pytest
import torch
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
from mhcdiag.kernels.sinkhorn.interface import ROWS
from mhcdiag.mappings.constraints import ExpSinkhorn, LogSinkhorn, SoftmaxSinkhorn
from mhcdiag.mappings.parametric import Blend, BlendTarget
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


def iterated(matrix: np.ndarray, times: int) -> np.ndarray:
    """Columns, then rows; `times` iterations of exp(logits)."""
    for _ in range(times):
        matrix = matrix / matrix.sum(axis=0)
        matrix = matrix / matrix.sum(axis=1, keepdims=True)
    return matrix


def off(matrix: np.ndarray) -> float:
    return abs(matrix.sum(axis=0) - 1).max()


class TestIterations:
    """How many iterations do, by iterating on."""

    DRAWN = np.exp(np.random.default_rng(3).standard_normal((2, TOKENS, 4, 4)) * 3)

    def left_by(self, times: int) -> np.ndarray:
        return np.array([[iterated(matrix, times) for matrix in site] for site in self.DRAWN])

    def expected(self, tolerance: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """By doing all of them from the start."""
        mean, every = [], []
        for site in self.DRAWN:
            residuals, matrices = [], list(site)
            for _ in range(400):
                matrices = [iterated(matrix, 1) for matrix in matrices]
                residuals.append([off(matrix) for matrix in matrices])
            mean.append(1 + int(np.argmax(np.mean(residuals, axis=1) <= tolerance)))
            every.append(1 + int(np.argmax(np.max(residuals, axis=1) <= tolerance)))
        return tuple(mean), tuple(every)

    def known(self, iterations: int):
        return parameters(np.zeros((2, 4, 4)), constraint=LogSinkhorn(iterations=iterations, first=ROWS))

    def test_they_are_those_that_it_takes_from_the_start(self):
        of = subject(self.left_by(2), exact=FORWARD, parameters=self.known(2))
        outcome = run(sinkhorn, of)
        mean, every = self.expected(1e-3)
        assert outcome.per_site["iterations_needed"] == mean
        assert outcome.per_site["iterations_every_token"] == every
        assert max(every) > max(mean) > 2
        assert outcome.findings[0].what.endswith(
            f"; {max(mean)} iterations bring the mean over these tokens to 0.001, {max(every)} each of them"
        )

    def test_of_captured_mappings_only_further_ones_are_known(self):
        outcome = run(sinkhorn, subject(self.left_by(2), exact=FORWARD), tolerance=0.01)
        mean, every = self.expected(0.01)
        assert outcome.per_site["iterations_needed"] == tuple(each - 2 for each in mean)
        assert f"; {max(mean) - 2} more iterations bring" in outcome.findings[0].what
        assert outcome.findings[0].what.endswith(f"to 0.01, {max(every) - 2} each of them")

    def test_where_all_are_made_the_number_is_that(self):
        _, every = self.expected(1e-3)
        of = subject(self.left_by(max(every)), exact=FORWARD, parameters=self.known(max(every)))
        outcome = run(sinkhorn, of, log_sum_note=inf, log_sum_fail=inf)
        assert outcome.per_site["iterations_needed"] == outcome.per_site["iterations_every_token"] == (max(every),) * 2
        assert outcome.findings == ()

    @pytest.mark.parametrize("exact", [FORWARD, BACKWARD])
    def test_either_side_may_be_the_exact_one(self, exact):
        maps = self.left_by(2)
        maps = maps if exact == FORWARD else maps.transpose(0, 1, 3, 2)
        assert run(sinkhorn, subject(maps, exact=exact)).per_site["iterations_needed"] == tuple(
            each - 2 for each in self.expected(1e-3)[0]
        )

    def test_what_never_converges_says_where_the_count_ended(self):
        """Two streams, one of which only sends: no doubly stochastic matrix has its zeros."""
        outcome = run(sinkhorn, subject([[[1.0, 0.0], [1.0, 0.0]]], exact=FORWARD))
        assert outcome.per_site["iterations_needed"] == (inf,)
        assert "; more than 2000 more iterations bring" in outcome.findings[0].what

    def test_a_large_eps_that_keeps_sums_away_from_1_is_seen(self):
        known = parameters(np.zeros((2, 4, 4)), constraint=SoftmaxSinkhorn(iterations=2, eps=0.01))
        outcome = run(sinkhorn, subject(self.left_by(2), exact=FORWARD, parameters=known))
        assert outcome.per_site["iterations_needed"] == (inf, inf)

    @pytest.mark.parametrize("kind", ["proposals", "blend"])
    def test_nothing_is_said_of_matrices_that_no_iteration_left(self, kind: str):
        known = self.known(2)
        if kind == "proposals":
            known = replace(known, recipe=replace(known.recipe, proposals=2))
        else:
            known = replace(known, blend=Blend(weight=torch.zeros(2), target=BlendTarget.IDENTITY))
        outcome = run(sinkhorn, subject(self.left_by(2), exact=FORWARD, parameters=known))
        assert "iterations_needed" not in outcome.per_site
        assert outcome.findings[0].what.endswith("(> 0.05)")

    def test_one_stream_needs_none(self):
        outcome = run(sinkhorn, subject(np.ones((2, 1, 1)), exact=FORWARD))
        assert outcome.per_site["iterations_needed"] == (0, 0)


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


class TestRangesOfTokens:
    """The input-dependent part counts."""

    FACTORS = np.random.default_rng(5).standard_normal((2, 9, 3)) * 8
    LENGTHS = np.sqrt((FACTORS**2).sum(axis=1))

    def ranges(self, scale: float, **changes) -> tuple[float, ...]:
        known = parameters(np.zeros((2, 3, 3)), factors=list(self.FACTORS), scale=[scale, 0.0], **changes)
        maps = np.stack([np.full((TOKENS, 3, 3), 1 / 3)] * 2)
        outcome = run(sinkhorn, subject(maps, exact=FORWARD, parameters=known, temperature=2.0))
        return outcome.per_site["logit_range"]

    def test_a_static_part_without_range_does_not_hide_it(self):
        """By drawing: an input of RMS 1, one for each stream, seen through the projection."""
        generator = np.random.default_rng(11)
        drawn = generator.standard_normal((20_000, 3, 9))
        logits = drawn / np.sqrt((drawn**2).mean(axis=-1, keepdims=True)) @ self.FACTORS[0] / 2
        expected = np.mean(logits.max(axis=(1, 2)) - logits.min(axis=(1, 2)))
        found = self.ranges(1.0)
        assert found[0] == pytest.approx(expected, rel=0.25)  # of seven tokens
        assert found[1] == 0.0

    def test_it_grows_with_the_factor(self):
        assert self.ranges(-3.0)[0] == pytest.approx(3 * self.ranges(1.0)[0], rel=1e-6)

    def test_what_the_iteration_cuts_off_is_no_range(self):
        assert self.ranges(100.0, constraint=ExpSinkhorn(limit=5.0))[0] <= 10.0


def test_coefficients_and_captured_mappings_have_no_logit_range():
    of = subject([mixing(0.75)], exact=FORWARD)
    assert "logit_range" not in run(sinkhorn, of).per_site
    row = parameters([[[0.0, 100.0]]])
    assert "logit_range" not in run(sinkhorn, replace(of, parameters=row)).per_site
    assert "logit_range" in run(sinkhorn, replace(of, parameters=parameters([np.zeros((2, 2))]))).per_site
