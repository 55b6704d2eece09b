"""Composite mappings, Dobrushin's coefficient and Lyapunov exponents against float64 NumPy."""

import itertools

import numpy as np
import pytest
import torch
from health_checks.subjects import SITES, STREAMS, TOKENS, as_tensor, random_maps
from reference import composite

from mhcdiag.health_checks.interface import dobrushin, lyapunov, prefixes


def values(maps) -> np.ndarray:
    """P(1,l) as [site, token, n, n], scale and all."""
    found = prefixes(as_tensor(maps))
    return (found.matrices * found.logs.exp()[..., None, None]).numpy()


def test_the_later_site_stands_on_the_left():
    found = values([[[1, 2], [0, 1]], [[1, 0], [3, 1]]])
    np.testing.assert_allclose(found[:, 0], [[[1, 2], [0, 1]], [[1, 2], [3, 7]]])


def test_every_prefix_of_every_token_is_that_of_plain_loops():
    maps = random_maps()
    expected = [[composite(maps, token, 0, site) for token in range(TOKENS)] for site in range(SITES)]
    np.testing.assert_allclose(values(maps), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", [1e40, 1e-40])
def test_depth_neither_overflows_nor_underflows(size: float):
    found = prefixes(as_tensor(np.diag([-size, size / 2, -size]) * np.ones((211, 1, 1))))
    assert found.matrices.abs().amax(dim=(-2, -1)).flatten().tolist() == [1.0] * 211
    assert found.logs[:, 0].tolist() == pytest.approx([np.log(size) * (site + 1) for site in range(211)])


def test_a_mapping_of_zeros_has_the_log_of_the_smallest_size():
    assert prefixes(as_tensor(np.zeros((1, 2, 2)))).logs.item() == pytest.approx(np.log(1e-300))


def test_dobrushin_is_half_the_largest_distance_of_two_rows():
    matrices = np.random.default_rng(0).standard_normal((SITES, TOKENS, STREAMS, STREAMS))
    pairs = [*itertools.combinations(range(STREAMS), 2)]
    expected = [[max(abs(p[i] - p[k]).sum() / 2 for i, k in pairs) for p in of_site] for of_site in matrices]
    np.testing.assert_allclose(dobrushin(torch.tensor(matrices)), expected, rtol=1e-12)


def test_dobrushin_of_one_matrix():
    assert dobrushin(torch.tensor([[0.5, 0.5], [0.25, 0.75]])).item() == 0.25


def test_lyapunov_exponents_are_those_of_the_composites():
    """Their sums up to k are the logs of the volumes that P(1,L) makes of the first k axes, over depth."""
    maps = random_maps()
    triangles = [np.linalg.qr(composite(maps, token, 0, SITES - 1)).R for token in range(TOKENS)]
    expected = np.mean([np.log(abs(np.diag(triangle))) / SITES for triangle in triangles], axis=0)
    np.testing.assert_allclose(lyapunov(as_tensor(maps)), expected, rtol=1e-10)


def test_lyapunov_exponents_of_a_stream_that_dies_are_finite():
    assert lyapunov(as_tensor(np.diag([2.0, 0.0]) * np.ones((3, 1, 1)))).tolist() == pytest.approx(
        [np.log(2), np.log(1e-300)]
    )
