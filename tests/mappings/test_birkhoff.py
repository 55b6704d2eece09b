"""Constraints without iteration, against loops in float64 NumPy."""

from itertools import permutations

import numpy as np
import pytest
import torch

from mhcdiag.mappings.birkhoff import (
    KroneckerPairs,
    Orthostochastic,
    PermutationMixture,
    TransportPolytope,
    coefficients_of,
    permutation_matrices,
)
from mhcdiag.mappings.constraints import COLUMNS, ROWS

TOKENS = 5


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape) * 2


def test_permutations_come_in_lexicographic_order():
    expected = [np.eye(3)[list(order)] for order in permutations(range(3))]
    np.testing.assert_array_equal(permutation_matrices(3), expected)


def test_a_mixture_weighs_permutations_by_a_softmax():
    logits = draw(1, 6, TOKENS)
    found = PermutationMixture(streams=3).apply(torch.tensor(logits))
    for token in range(TOKENS):
        weights = np.exp(logits[0, :, token]) / np.exp(logits[0, :, token]).sum()
        expected = sum(w * np.eye(3)[list(order)] for w, order in zip(weights, permutations(range(3)), strict=True))
        np.testing.assert_allclose(found[..., token], expected, rtol=1e-6)


@pytest.mark.parametrize("factors", [1, 2, 3])
def test_kronecker_factors_multiply_the_first_one_most_significant(factors: int):
    logits = draw(1, 2 * factors, TOKENS)
    found = KroneckerPairs().apply(torch.tensor(logits))
    for token in range(TOKENS):
        expected = np.ones((1, 1))
        for first, second in logits[0, :, token].reshape(factors, 2):
            p = np.exp(first) / (np.exp(first) + np.exp(second))
            expected = np.kron(expected, [[p, 1 - p], [1 - p, p]])
        np.testing.assert_allclose(found[..., token], expected, rtol=1e-10)


@pytest.mark.parametrize("streams", [2, 3, 5])
def test_a_transport_polytope_is_filled_entry_by_entry(streams: int):
    logits = draw(streams, streams, TOKENS)
    found = TransportPolytope().apply(torch.tensor(logits))
    for token in range(TOKENS):
        x = np.zeros((streams, streams))
        for i in range(streams - 1):
            for j in range(streams - 1):
                row, column = 1 - x[i, :j].sum(), 1 - x[:i, j].sum()
                later_columns = sum(1 - x[:i, k].sum() for k in range(j + 1, streams))
                low = max(0.0, row - later_columns, column - (streams - 1 - i))
                width = max(min(row, column) - low, 1e-7)
                x[i, j] = low + width / (1 + np.exp(-logits[i, j, token]))
            x[i, -1] = 1 - x[i, :-1].sum()
        x[-1] = 1 - x[:-1].sum(axis=0)
        np.testing.assert_allclose(found[..., token], x, rtol=1e-8, atol=1e-10)
        assert x.min() > -1e-6


def test_newton_schulz_makes_the_squares_of_an_orthogonal_matrix():
    logits = draw(3, 3, TOKENS)
    found = Orthostochastic().apply(torch.tensor(logits))
    for token in range(TOKENS):
        u, _, v = np.linalg.svd(logits[..., token])
        np.testing.assert_allclose(found[..., token], (u @ v) ** 2, atol=0.03)


def test_only_what_is_exact_by_construction_is_called_so():
    for constraint in (PermutationMixture(streams=3), KroneckerPairs(), TransportPolytope()):
        assert set(constraint.exact_axes) == {ROWS, COLUMNS}
    assert Orthostochastic().exact_axes == ()


def test_numbers_of_coefficients():
    assert [coefficients_of(PermutationMixture, n) for n in (2, 3, 4)] == [2, 6, 24]
    assert [coefficients_of(KroneckerPairs, n) for n in (2, 4, 8)] == [2, 4, 6]
