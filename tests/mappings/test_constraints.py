"""Sinkhorn variants against loops in float64 NumPy, written from the definitions."""

import numpy as np
import pytest
import torch

from mhcdiag.mappings.constraints import COLUMNS, ROWS, ExpSinkhorn, SoftmaxSinkhorn

STREAMS, TOKENS = 5, 7


def logits(scale: float = 1.0) -> torch.Tensor:
    return torch.randn(STREAMS, STREAMS, TOKENS, generator=torch.Generator().manual_seed(0)) * scale


def softmax_sinkhorn(matrix: np.ndarray, iterations: int, eps: float) -> np.ndarray:
    matrix = np.exp(matrix - matrix.max(axis=1, keepdims=True))
    matrix = matrix / matrix.sum(axis=1, keepdims=True) + eps
    matrix = matrix / (matrix.sum(axis=0, keepdims=True) + eps)
    for _ in range(iterations - 1):
        matrix = matrix / (matrix.sum(axis=1, keepdims=True) + eps)
        matrix = matrix / (matrix.sum(axis=0, keepdims=True) + eps)
    return matrix


def exp_sinkhorn(matrix: np.ndarray, iterations: int) -> np.ndarray:
    matrix = np.exp(matrix - matrix.max(axis=0, keepdims=True))
    for _ in range(iterations):
        matrix = matrix / matrix.sum(axis=0, keepdims=True)
        matrix = matrix / matrix.sum(axis=1, keepdims=True)
    return matrix


@pytest.mark.parametrize("iterations", [1, 2, 20])
@pytest.mark.parametrize("scale", [1.0, 8.0])
def test_softmax_sinkhorn_is_that_of_numpy(iterations: int, scale: float):
    found = SoftmaxSinkhorn(iterations=iterations, eps=1e-6).apply(logits(scale))
    for token in range(TOKENS):
        expected = softmax_sinkhorn(logits(scale)[..., token].double().numpy(), iterations, 1e-6)
        np.testing.assert_allclose(found[..., token], expected, rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("iterations", [1, 2, 20])
@pytest.mark.parametrize("scale", [1.0, 8.0])
def test_exp_sinkhorn_is_that_of_numpy(iterations: int, scale: float):
    found = ExpSinkhorn(iterations=iterations).apply(logits(scale))
    for token in range(TOKENS):
        expected = exp_sinkhorn(logits(scale)[..., token].double().numpy(), iterations)
        np.testing.assert_allclose(found[..., token], expected, rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("constraint", [SoftmaxSinkhorn(iterations=3, eps=1e-12), ExpSinkhorn(iterations=3)])
def test_only_the_side_normalised_last_is_exact(constraint: SoftmaxSinkhorn | ExpSinkhorn):
    matrix = constraint.apply(logits(6.0).double())
    other = COLUMNS if constraint.exact_axes == (ROWS,) else ROWS
    assert (matrix.sum(dim=constraint.exact_axes) - 1).abs().max() < 1e-10
    assert (matrix.sum(dim=other) - 1).abs().max() > 1e-2


@pytest.mark.parametrize("constraint", [SoftmaxSinkhorn(iterations=400, eps=0.0), ExpSinkhorn(iterations=400)])
def test_enough_iterations_make_both_sides_exact(constraint: SoftmaxSinkhorn | ExpSinkhorn):
    matrix = constraint.apply(logits().double())
    for axis in (ROWS, COLUMNS):
        assert (matrix.sum(dim=axis) - 1).abs().max() < 1e-10


@pytest.mark.parametrize("constraint", [SoftmaxSinkhorn(), ExpSinkhorn()])
def test_the_logits_are_left_alone(constraint: SoftmaxSinkhorn | ExpSinkhorn):
    given = logits()
    constraint.apply(given)
    assert torch.equal(given, logits())
