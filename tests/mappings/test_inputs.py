"""Random inputs: the short draw through the QR factor against the long one through the whole input."""

import numpy as np
import pytest
import torch

from mhcdiag.mappings.inputs import InputNorm, LogitSampler, logit_factor
from mhcdiag.mappings.interface import CHUNK_TOKENS

INPUTS, LOGITS, STREAMS = 97, 11, 3


def weight(inputs: int = INPUTS, logits: int = LOGITS, seed: int = 0) -> torch.Tensor:
    return torch.randn(inputs, logits, generator=torch.Generator().manual_seed(seed))


def sampler(*, per_stream: bool = False, inputs: int = INPUTS, seed: int = 0, site: int = 0) -> LogitSampler:
    norm = InputNorm(per_stream=per_stream, eps=1e-6)
    return LogitSampler(factor=logit_factor(weight(inputs)), norm=norm, streams=STREAMS, seed=seed, site=site)


def test_the_factor_keeps_every_inner_product_of_the_columns():
    triangle = logit_factor(weight()).triangle
    np.testing.assert_allclose(triangle.T @ triangle, weight().double().T @ weight().double(), rtol=1e-9, atol=1e-9)
    assert (triangle.diagonal() >= 0).all()


def test_projecting_the_rotated_input_is_projecting_the_input():
    """z = R^T u with u = Q^T x: the identity on which the short draw rests, for the very same x."""
    orthogonal, triangle = torch.linalg.qr(weight().double())
    x = torch.randn(INPUTS, generator=torch.Generator().manual_seed(1)).double()
    np.testing.assert_allclose(triangle.T @ (orthogonal.T @ x), weight().double().T @ x, rtol=1e-9)


@pytest.mark.parametrize("inputs", [5, LOGITS, INPUTS])
def test_both_routes_have_the_same_distribution(inputs: int):
    """Moments of the logits from 4096 tokens; the tolerances are about five standard errors."""
    tokens = CHUNK_TOKENS
    short = sampler(inputs=inputs).draw(0, tokens)[0]
    x = np.random.default_rng(7).standard_normal((tokens, inputs))
    long = ((x / np.sqrt((x**2).mean(axis=1, keepdims=True) + 1e-6)) @ weight(inputs).double().numpy()).T
    spread = long.std(axis=1)
    assert np.abs(short.mean(axis=1) - long.mean(axis=1)).max() < 0.12 * spread.max()
    np.testing.assert_allclose(short.std(axis=1), spread, rtol=0.08)
    np.testing.assert_allclose(np.corrcoef(short), np.corrcoef(long), atol=0.12)
    for q in (0.01, 0.99):
        np.testing.assert_allclose(
            np.quantile(short / spread[:, None], q, axis=1), np.quantile(long / spread[:, None], q, axis=1), atol=0.3
        )


def test_inputs_are_normalised():
    """With as many logits as inputs nothing is hidden, and every drawn vector has the length sqrt(d)."""
    identity = logit_factor(torch.eye(LOGITS))
    norm = InputNorm(per_stream=False, eps=0.0)
    drawn = LogitSampler(factor=identity, norm=norm, streams=STREAMS, seed=0, site=0).draw(0, 13)[0]
    np.testing.assert_allclose(np.sqrt((drawn**2).sum(axis=0)), np.sqrt(LOGITS), rtol=1e-6)


def test_the_two_forms_of_the_norm_agree_but_for_eps():
    squares = np.array([3.0, 50.0])
    added = InputNorm(per_stream=False, eps=1e-12).rms(squares, 10)
    clamped = InputNorm(per_stream=False, eps=1e-12, clamped=True).rms(squares, 10)
    np.testing.assert_allclose(added, clamped)
    np.testing.assert_allclose(added, np.sqrt(squares / 10))


def test_streams_are_independent_where_the_norm_is_per_stream():
    drawn = sampler(per_stream=True).draw(0, CHUNK_TOKENS)
    assert drawn.shape == (STREAMS, LOGITS, CHUNK_TOKENS)
    across = np.corrcoef(drawn[:, 0])
    assert np.abs(across[~np.eye(STREAMS, dtype=bool)]).max() < 0.08


def test_a_draw_depends_on_seed_and_site_and_on_nothing_else():
    first = sampler().draw(0, 31)
    assert np.array_equal(first, sampler().draw(0, 31))
    assert not np.array_equal(first, sampler(seed=1).draw(0, 31))
    assert not np.array_equal(first, sampler(site=1).draw(0, 31))
    assert not np.array_equal(first, sampler().draw(CHUNK_TOKENS, CHUNK_TOKENS + 31))


@pytest.mark.parametrize("per_stream", [False, True])
def test_the_first_tokens_are_the_same_however_many_follow(per_stream: bool):
    np.testing.assert_array_equal(
        sampler(per_stream=per_stream).draw(0, 7), sampler(per_stream=per_stream).draw(0, 31)[..., :7]
    )


def test_a_projection_of_zeros_gives_zeros():
    factor = logit_factor(torch.zeros(INPUTS, LOGITS))
    norm = InputNorm(per_stream=False, eps=1e-6)
    drawn = LogitSampler(factor=factor, norm=norm, streams=STREAMS, seed=0, site=0).draw(0, 5)
    assert np.array_equal(drawn, np.zeros((1, LOGITS, 5), dtype=np.float32))


def test_nan_in_a_projection_stays_nan():
    broken = weight()
    broken[3, 2] = torch.nan
    assert logit_factor(broken).triangle.isnan().all()
