"""How much of a difference between streams survives, and from which depth on it is gone."""

from math import inf, log

import numpy as np
import pytest
from health_checks.subjects import SITES, TOKENS, random_maps, run, said, speaks_above, subject, whats
from reference import composite

from mhcdiag.health_checks.families.collapse import CHECK as collapse
from mhcdiag.health_checks.interface import dobrushin


def halving(*shares: float):
    """Two streams; at each site this share of their difference survives."""
    return subject([[[(1 + share) / 2, (1 - share) / 2], [(1 - share) / 2, (1 + share) / 2]] for share in shares])


def test_survival_and_singular_values_are_token_means_of_the_composites():
    maps = random_maps()
    outcome = run(collapse, subject(maps))
    products = np.array([[composite(maps, token, 0, site) for token in range(TOKENS)] for site in range(SITES)])
    differences = abs(products[..., :, None, :] - products[..., None, :, :]).sum(axis=-1).max(axis=(-2, -1)) / 2
    assert outcome.per_site["dobrushin"] == pytest.approx(tuple(differences.mean(axis=1)))
    second = np.linalg.svd(products, compute_uv=False)[..., 1]
    assert outcome.per_site["second_singular"] == pytest.approx(tuple(second.mean(axis=1)))
    assert outcome.overall["dobrushin"] == outcome.per_site["dobrushin"][-1]
    assert outcome.overall["second_singular"] == outcome.per_site["second_singular"][-1]


def test_exponents_are_numbered_from_the_largest():
    outcome = run(collapse, subject([np.diag([3.0, 2.0, 0.5])] * 4))
    exponents = {name: value for name, value in outcome.overall.items() if name.startswith("lyapunov")}
    assert exponents == pytest.approx({"lyapunov_1": log(3), "lyapunov_2": log(2), "lyapunov_3": log(0.5)})


@pytest.mark.parametrize(
    ("shares", "half"),
    [
        ((0.5,), 0.5),
        ((0.5, 0.25), 0.5),
        ((0.5, 0.25, 0.125), 0.5),
        ((0.5, 0.25, 0.125, 0.1), 0.125),
        ((0.5, 0.5, 0.25, 1.0, 1.0, 1.0, 1.0), 0.0625),
    ],
)
def test_half_way_is_the_site_at_half_the_depth(shares, half: float):
    assert run(collapse, halving(*shares)).overall["half_depth"] == pytest.approx(half)


@pytest.mark.parametrize(
    ("shares", "depth"), [((0.5, 0.021), 3.0), ((0.5, 0.019), 2.0), ((0.009, 1.0, 1.0), 1.0), ((0.5, 0.019, 0.1), 2.0)]
)
def test_the_depth_at_which_one_percent_is_left_counts_from_one(shares, depth: float):
    assert run(collapse, halving(*shares)).overall["depth_to_1_percent"] == depth


def test_one_percent_exactly_still_survives():
    of = subject([np.diag([0.5, 0.5])])
    outcomes = [run(collapse, of, survives=limit).overall["depth_to_1_percent"] for limit in (0.499, 0.5, 0.501)]
    assert outcomes == [2.0, 2.0, 1.0]
    assert dobrushin(of.maps[..., 0]).item() == 0.5


@pytest.mark.parametrize(("share", "warned"), [(0.0999, True), (0.1001, False)])
def test_little_left_half_way_is_a_warning(share: float, warned: bool):
    assert bool(run(collapse, halving(share, 1.0)).findings) is warned


def test_exactly_the_limit_half_way_passes():
    of = subject([np.diag([0.5, 0.5])] * 2)
    assert speaks_above(collapse, of, "half_depth_warn", 0.5) == [False, False, True]


def test_the_warning_names_the_site_from_which_nothing_is_left():
    outcome = run(collapse, halving(0.09, 0.1))
    assert whats(outcome) == ["half-way 0.09 of a difference survives (< 0.1); under 1% from site 1 on"]
    assert said(outcome) == [("warn", "site 1", 0)]
    outcome = run(collapse, halving(0.09, 1.0))
    assert whats(outcome) == ["half-way 0.09 of a difference survives (< 0.1)"]
    assert said(outcome) == [("warn", "", 0)]


def test_one_stream_cannot_collapse():
    assert run(collapse, subject()).not_checkable == "there is one stream"


@pytest.mark.parametrize("value", [np.nan, inf, -inf])
def test_one_broken_entry_is_a_failure_that_names_site_and_count(value: float):
    maps = random_maps()
    maps[1, 2, 0, 1] = maps[3, 4, 2, 2] = value
    outcome = run(collapse, subject(maps))
    assert said(outcome) == [("fail", "site 1", 2)]
    assert (outcome.overall, outcome.per_site) == ({}, {})
