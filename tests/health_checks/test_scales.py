"""Branch factors and factors on the residual stream."""

from math import exp, inf, isnan, log, nan

import numpy as np
import pytest
import torch
from health_checks.subjects import plain, run, said, speaks_above, subject, whats

from mhcdiag.health_checks.families.scales import CHECK as scales
from mhcdiag.results.numbers import text


def model(*branch: float, residual: tuple[float, ...] = (), stated: dict[str, float] | None = None):
    """Branch factors of which each is a vector of this mean size and of both signs."""
    factors = {f"s{i}": torch.tensor([1.5, -0.5]) * size for i, size in enumerate(branch)}
    held = torch.tensor(residual)[:, None] if residual else None
    maps = np.ones((len(residual), 1, 1)) if residual else None
    known = None if stated is None else plain(config_scales=stated)
    return subject(maps, branch_scales=factors, residual_factors=held, plain=known)


def test_numbers_are_means_of_sizes():
    outcome = run(scales, model(0.5, 0.25, 2.0, stated={"multiplier": 0.75}))
    assert outcome.overall == pytest.approx(
        {
            "branch_scales": 4.0,
            "log_residual_product": 0.0,
            "smallest_branch_scale": 0.25,
            "largest_branch_scale": 2.0,
        }
    )
    assert outcome.findings == ()


@pytest.mark.parametrize(
    ("branch", "silent"),
    [((0.00099, 1.0), 1), ((0.00101, 1.0), 0), ((0.0009, 1.0, 1.0), 0), ((1.0, 0.0, 0.0009), 2)],
)
def test_half_of_the_branches_make_a_finding(branch, silent: int):
    outcome = run(scales, model(*branch))
    first = "s1" if silent == 2 else "s0"
    what = f"{silent} of {len(branch)} branch factors are under 0.001 (first: {first})"
    assert whats(outcome) == ([what] if silent else [])


def test_exactly_the_limits_pass():
    of = subject(branch_scales={"a": torch.tensor([0.5, 0.5])})
    assert speaks_above(scales, of, "silent", 0.5) == [False, False, True]
    assert speaks_above(scales, of, "large", 0.5) == [True, False, False]


def test_no_silent_branch_is_no_finding_whatever_the_share():
    assert run(scales, model(1.0), share=0.0).findings == ()


def test_one_large_factor_is_enough():
    outcome = run(scales, model(1.0, 9.99, 10.01, 1.0))
    assert whats(outcome) == ["1 of 4 branch factors are above 10 (first: s2)"]
    assert said(outcome) == [("warn", "", 0)]


@pytest.mark.parametrize(
    ("residual", "warned"),
    [((3.0, -3.3), False), ((3.0, -3.4), True), ((0.31, 0.33), False), ((0.31, 0.32), True), ((5.0, 0.2), False)],
)
def test_a_product_of_ten_either_way_is_too_much(residual, warned: bool):
    outcome = run(scales, model(residual=residual))
    total = sum(log(abs(each)) for each in residual)
    assert outcome.overall == pytest.approx({"branch_scales": 0.0, "log_residual_product": total}, abs=1e-6)
    product = text(exp(total))
    assert whats(outcome) == ([f"the factors on the residual stream multiply to {product}"] if warned else [])


def test_a_product_of_exactly_the_limit_passes():
    of = model(residual=(0.5,))
    assert speaks_above(scales, of, "log_product", log(2)) == [True, False, False]


def test_channels_multiply_each_on_its_own():
    """The number is that of the channel that grows most, which is the gain of the model."""
    factors = torch.tensor([[2.0, 0.5, 1.0], [3.0, 0.1, -1.0]])
    outcome = run(scales, subject(np.ones((2, 1, 1)), residual_factors=factors), log_product=log(5))
    assert outcome.overall["log_residual_product"] == pytest.approx(log(6))
    said = "the factors on the residual stream multiply to {} in one channel"
    assert whats(outcome) == [said.format("6.000"), said.format("0.05000")]


def test_a_factor_of_zero_is_as_small_as_can_be():
    outcome = run(scales, subject(np.ones((2, 1, 1)), residual_factors=torch.tensor([[2.0], [0.0]])))
    assert outcome.overall["log_residual_product"] == pytest.approx(log(2) + log(1e-300))


@pytest.mark.parametrize("value", [nan, inf])
@pytest.mark.parametrize("position", range(3))
def test_one_broken_factor_is_a_finding(position: int, value: float):
    sizes = [1.0, 1.0, 1.0]
    sizes[position] = value
    assert said(run(scales, model(residual=tuple(sizes)))) == [("warn", "", 0)]
    outcome = run(scales, model(*sizes))
    assert whats(outcome) == [f"1 of 3 branch factors are above 10 (first: s{position})"]
    assert not outcome.overall["largest_branch_scale"] <= 10
    assert str(outcome.overall["smallest_branch_scale"]) == ("nan" if isnan(value) else "1.0")


@pytest.mark.parametrize("stated", [None, {}])
def test_models_without_factors_are_left_alone(stated):
    assert run(scales, model(stated=stated)).not_checkable.startswith("no LayerScale, ReZero or residual factors")
    assert not run(scales, model(residual=(1.0,), stated=stated)).not_checkable
