"""The share of the first site in the log-gain, and the rank of the kernel from branch to branch."""

from math import log

import numpy as np
import pytest
from health_checks.subjects import SITES, STREAMS, gates, random_maps, run, said, speaks_above, subject, whats
from reference import composite

from mhcdiag.health_checks.families.gauge import CHECK as gauge
from mhcdiag.mappings.interface import GateActivation


def scalings(*factors: float):
    return subject([np.eye(2) * factor for factor in factors])


def test_log_gains_are_token_means_of_the_largest_row_sums():
    maps = random_maps()

    def expected(first: int, last: int) -> float:
        products = [composite(maps, token, first, last) for token in range(maps.shape[1])]
        return np.mean([np.log(abs(product).sum(axis=1).max()) for product in products])

    found = run(gauge, subject(maps)).overall
    assert found == pytest.approx(
        {
            "log_gain": expected(0, SITES - 1),
            "log_gain_first": expected(0, 0),
            "log_gain_later": expected(1, SITES - 1),
        }
    )


def test_the_second_of_two_sites_is_what_comes_later():
    assert run(gauge, scalings(8.0, 2.0)).overall["log_gain_later"] == pytest.approx(log(2))


def test_a_model_of_one_site_has_nothing_later():
    assert run(gauge, scalings(8.0)).overall == pytest.approx(
        {"log_gain": log(8), "log_gain_first": log(8), "log_gain_later": 0.0}
    )


@pytest.mark.parametrize(
    ("factors", "noted"),
    [
        ((4.0, 4.0), False),  # exactly half
        ((4.0, 3.999), True),
        ((3.999, 4.0), False),
        ((2.0, 1.0), False),  # a gain of exactly 2 is calm
        ((2.001, 1.0), True),
        ((1.999, 1.0), False),
    ],
)
def test_the_first_site_is_noted_where_it_makes_more_than_half_of_a_gain_above_two(factors, noted: bool):
    assert bool(run(gauge, scalings(*factors)).findings) is noted


def test_the_note_says_the_share():
    outcome = run(gauge, scalings(8.0, 2.0))
    assert whats(outcome) == ["the first site makes 75% of the log-gain: a rescaling, since its streams are equal"]
    assert said(outcome) == [("note", "site 0", 1)]


def test_the_share_is_a_threshold():
    assert speaks_above(gauge, scalings(4.0, 4.0), "first_share_note", 0.5) == [True, False, False]


def test_the_kernel_is_pre_times_what_lies_between_times_post():
    """K_ij = H_pre,j P(i+1, j-1) H_post,i of token means, for every i before j."""
    maps = random_maps()
    pre, post = np.random.default_rng(1).standard_normal((2, SITES, STREAMS))
    mean = maps.mean(axis=1, keepdims=True)
    kernel = np.zeros((SITES, SITES))
    for i in range(SITES):
        for j in range(i + 1, SITES):
            kernel[j, i] = abs(pre[j]) @ composite(mean, 0, i + 1, j - 1) @ abs(post[i])
    singular = np.linalg.svd(kernel, compute_uv=False)
    shares = singular[singular > 1e-12] / singular.sum()
    found = run(gauge, subject(maps, gates=gates(pre, post))).overall["kernel_rank"]
    assert found == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=1e-9)


def test_sigmoid_gates_are_weights_and_no_logits():
    """Streams that are read by one branch each: two channels of equal strength have the rank 2."""
    wide = 40.0
    maps = [np.eye(2)] * 3
    reads = [(-wide, -wide), (wide, -wide), (-wide, wide)]
    writes = [(wide, -wide), (-wide, wide), (-wide, -wide)]
    found = run(gauge, subject(maps, gates=gates(reads, writes, GateActivation.SIGMOID))).overall["kernel_rank"]
    assert found == pytest.approx(2.0)


def test_one_site_reads_no_other():
    outcome = run(gauge, subject([np.eye(2)], gates=gates([(1, 1)], [(1, 1)])))
    assert outcome.overall["kernel_rank"] == pytest.approx(1.0)


def test_without_gates_there_is_no_kernel():
    assert "kernel_rank" not in run(gauge, scalings(1.0)).overall
