"""The reference numbers and the cases themselves, since everything else is held against them."""

import numpy as np
import pytest
from reference import reference, token_gains

TOLERANCE = 1e-5
"""What the packages' numbers must agree to, relative to the `norm`."""


def largest_difference(left: np.ndarray, right: np.ndarray) -> float:
    """Largest relative difference between the token means of `norm` of two stacks of mappings."""
    gains = [token_gains(maps) for maps in (left, right)]
    return max(
        (abs(gains[0][key].mean(1) - gains[1][key].mean(1)) / gains[0][key].mean(1)).max()
        for key in gains[0]
        if key[2] == "norm"
    )


@pytest.fixture
def maps() -> np.ndarray:
    return np.random.default_rng(3).normal(size=(5, 7, 3, 3))


def test_two_sites_by_hand():
    first, second = [[1.0, -3.0], [2.0, 1.0]], [[0.0, 1.0], [1.0, 1.0]]
    # second @ first = [[2, 1], [3, -2]]: row sums 3, 1 (absolute values 3, 5), column sums 5, -1 (5, 3)
    numbers = reference(np.array([[first], [second]])).gain
    assert numbers["prefix", "forward", "amax", "mean"] == [3.0, 3.0]
    assert numbers["prefix", "forward", "norm", "mean"] == [4.0, 5.0]
    assert numbers["prefix", "backward", "amax", "mean"] == [3.0, 5.0]
    assert numbers["suffix", "backward", "norm", "mean"] == [5.0, 2.0]
    assert numbers["single", "forward", "norm", "mean"] == [4.0, 2.0]


def test_order_statistics_by_hand():
    numbers = reference(np.arange(1.0, 8.0).reshape(1, 7, 1, 1)).gain
    assert [numbers["single", "forward", "norm", name][0] for name in ("p50", "p99", "max")] == [
        4.0,
        7.0,
        7.0,
    ]


def test_the_gain_of_the_mean_is_not_the_mean_gain():
    numbers = reference(np.array([[[[3.0]], [[-1.0]]]])).gain
    assert numbers["single", "forward", "norm", "mean"] == [2.0]
    assert numbers["single", "forward", "norm", "of_mean"] == [1.0]


def test_worst_is_the_largest_over_all_spans(maps: np.ndarray):
    numbers = reference(maps)
    for key, worst in numbers.worst.items():
        curves = [numbers.gain[(kind, *key, "mean")] for kind in ("single", "prefix", "suffix")]
        assert worst >= max(max(curve) for curve in curves)
    small, large = np.full((1, 1, 1), 0.1), np.full((1, 1, 1), 5.0)
    inner = reference(np.stack([small, large, large, small]))
    assert inner.worst["forward", "norm"] == pytest.approx(25.0)


def test_the_array_form_agrees_with_the_loops(maps: np.ndarray):
    loops = reference(maps)
    for key, gains in token_gains(maps).items():
        np.testing.assert_allclose(gains.mean(1), loops.gain[(*key, "mean")], rtol=1e-12)
        np.testing.assert_allclose(gains.max(1), loops.gain[(*key, "max")], rtol=1e-12)


@pytest.mark.parametrize("what", ["captured", "static"])
def test_a_wrong_reading_of_a_case_would_show(case, what: str):
    """Transposing every mapping, or reversing the sites, changes the numbers far more than the tolerance."""
    maps = getattr(case, what)
    if maps.shape[-1] > 1:
        assert largest_difference(maps, maps.swapaxes(-1, -2)) > 100 * TOLERANCE
    assert largest_difference(maps, maps[::-1]) > 100 * TOLERANCE


def test_the_input_dependent_part_matters(case):
    """Captured and static numbers differ, so that neither can stand in for the other."""
    assert largest_difference(case.captured, case.static) > 100 * TOLERANCE


@pytest.mark.parametrize(
    ("name", "side"), [("deepseek_v4_unconverged", "backward"), ("mhc_three_iterations", "forward")]
)
def test_sinkhorn_of_the_unconverged_cases_does_not_converge(build_case, name: str, side: str):
    single = token_gains(build_case(name).captured)["single", side, "norm"]
    assert single.max() > 1.02
