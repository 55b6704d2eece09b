"""Inputs that share a direction over depth: what running modules make of the same vectors, and which ones are drawn."""

import math

import numpy as np
import pytest
import torch

from mhcdiag.mappings.aligned import CANDIDATES, SHARED, AlignedMaps, carried
from mhcdiag.mappings.inputs import InputNorm, logit_factor
from mhcdiag.mappings.interface import CHUNK_TOKENS, Orientation, Stack
from mhcdiag.mappings.parametric import Activation, ParametricStack, Recipe

SITES, STREAMS, WIDTH, TOKENS = 6, 3, 11, 5


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def stack_of(
    *,
    orientation=Orientation.SOURCE_ROWS,
    activation=Activation.TANH,
    offset=None,
    scale=0.4,
    weights=None,
    base=None,
) -> ParametricStack:
    """Hyper-connections with random parameters."""
    weights = draw(SITES, WIDTH, STREAMS, seed=1) if weights is None else weights
    names = tuple(f"site {i}" for i in range(len(weights)))
    return ParametricStack(
        stack=Stack(sites=names, tensors=names, streams=STREAMS),
        depths=tuple(range(len(weights))),
        recipe=Recipe(
            norm=InputNorm(per_stream=True, eps=0.0), activation=activation, constraint=None, orientation=orientation
        ),
        base=torch.tensor(draw(len(weights), STREAMS, STREAMS, seed=2) if base is None else base),
        scale=torch.full((len(weights),), scale, dtype=torch.float64),
        factors=tuple(logit_factor(torch.tensor(weight), keep=True) for weight in weights),
        offset=None if offset is None else torch.tensor(offset),
    )


def run(parameters: ParametricStack, x: np.ndarray) -> np.ndarray:
    """H [site, stream, stream] of real streams [stream, input] that begin as copies of x, one vector at a time."""
    streams = np.tile(x, (STREAMS, 1))
    found = []
    for site, factor in enumerate(parameters.factors):
        normed = streams / np.sqrt((streams**2).mean(axis=1, keepdims=True))
        logits = normed @ factor.weight.numpy()
        if parameters.offset is not None:
            logits = logits + parameters.offset[site].numpy()
        if parameters.recipe.activation is Activation.TANH:
            logits = np.tanh(logits)
        stored = parameters.base[site].numpy() + float(parameters.scale[site]) * logits
        found.append(stored.T if parameters.recipe.orientation is Orientation.SOURCE_ROWS else stored)
        streams = found[-1] @ streams
    return np.stack(found)


@pytest.mark.parametrize("orientation", Orientation)
@pytest.mark.parametrize("activation", Activation)
@pytest.mark.parametrize("with_offset", [False, True])
def test_maps_are_those_of_streams_that_run_through_them(orientation, activation, with_offset: bool):
    offset = draw(SITES, STREAMS, seed=3) if with_offset else None
    parameters = stack_of(orientation=orientation, activation=activation, offset=offset)
    source = AlignedMaps(parameters=parameters, tokens=TOKENS, seed=4)
    found = source.chunk(0, TOKENS).numpy()
    signs = set()
    for token, x in enumerate(source.inputs(0, TOKENS).numpy()):
        expected = run(parameters, x)
        np.testing.assert_allclose(found[..., token], expected, rtol=1e-9)
        multiples = np.ones(STREAMS)
        for mapping in expected:
            multiples = mapping @ multiples
            signs |= set(np.sign(multiples))
    assert signs == {-1.0, 1.0}, "no stream of this test ever turned round, so that signs were not tested"


def test_tokens_share_a_third_of_their_variance_and_look_like_the_projections():
    parameters = stack_of()
    source = AlignedMaps(parameters=parameters, tokens=3000, seed=0)
    drawn = source.inputs(0, 3000).numpy()
    stacked = 0.4 * np.concatenate([factor.weight.numpy() for factor in parameters.factors], axis=1)
    left, sizes, _ = np.linalg.svd(stacked)
    mean = drawn.mean(axis=0)
    common = abs(left.T @ mean) / np.linalg.norm(mean)
    assert common.max() > 0.99, "the common part is a singular vector"
    assert common.argmax() < CANDIDATES
    # E |A g|^2 = |A|_F^2, so that both parts have unit size before they are weighed.
    assert (mean**2).sum() == pytest.approx(SHARED, rel=0.05)
    own = drawn - mean
    assert (own**2).sum(axis=1).mean() == pytest.approx(1 - SHARED, rel=0.05)
    spread = ((own @ left) ** 2).mean(axis=0)
    np.testing.assert_allclose(spread, (1 - SHARED) * sizes**2 / (sizes**2).sum(), rtol=0.15)


def test_the_common_part_is_the_candidate_whose_streams_grow_most():
    parameters = stack_of()
    stacked = 0.4 * np.concatenate([factor.weight.numpy() for factor in parameters.factors], axis=1)
    left = np.linalg.svd(stacked)[0][:, :CANDIDATES]

    def growth(x: np.ndarray) -> float:
        multiples = np.ones(STREAMS)
        for mapping in run(parameters, x):
            multiples = mapping @ multiples
        return float(abs(multiples).max())

    best = max(growth(sign * vector) for vector in left.T for sign in (-1, 1))
    found = AlignedMaps(parameters=parameters, tokens=1, seed=0).common()
    multiples = np.ones(STREAMS)
    for mapping in found:
        multiples = mapping @ multiples
    assert abs(multiples).max() == pytest.approx(best, rel=1e-9)
    _, logarithm = carried(parameters, np.zeros((SITES, STREAMS, 1)))  # no input: the static mappings
    static = np.linalg.multi_dot(parameters.base.numpy().swapaxes(1, 2)[::-1]) @ np.ones(STREAMS)
    assert logarithm[0] == pytest.approx(math.log(abs(static).max()))


def test_wide_and_narrow_projections_have_the_same_singular_vectors():
    """The smaller Gram matrix is taken: that of 11 inputs for 6 sites of 3 columns, else that of the columns."""
    narrow = stack_of()
    rotation = np.linalg.qr(draw(40, WIDTH, seed=7))[0]
    wide = stack_of(weights=np.stack([rotation @ f.weight.numpy() * (WIDTH / 40) ** 0.5 for f in narrow.factors]))
    for one, other in zip(
        AlignedMaps(parameters=narrow, tokens=TOKENS, seed=5).chunk(0, TOKENS),
        AlignedMaps(parameters=wide, tokens=TOKENS, seed=5).chunk(0, TOKENS),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_draws_depend_on_seed_and_token_alone():
    parameters = stack_of()
    source = AlignedMaps(parameters=parameters, tokens=2 * CHUNK_TOKENS, seed=1)
    first = source.chunk(0, CHUNK_TOKENS)
    again = AlignedMaps(parameters=parameters, tokens=7, seed=1).chunk(0, 7)
    np.testing.assert_allclose(first[..., :7], again, rtol=1e-9)  # a product of another shape may round otherwise
    assert not torch.equal(source.chunk(CHUNK_TOKENS, CHUNK_TOKENS + 7), again)
    assert not torch.equal(AlignedMaps(parameters=parameters, tokens=7, seed=2).chunk(0, 7), again)


@pytest.mark.parametrize("silent", ["scale", "weights"])
def test_without_an_input_dependent_part_the_mappings_are_static(silent: str):
    zero = {"scale": 0.0} if silent == "scale" else {"weights": np.zeros((SITES, WIDTH, STREAMS))}
    parameters = stack_of(**zero)
    found = AlignedMaps(parameters=parameters, tokens=2, seed=0).chunk(0, 2)
    np.testing.assert_array_equal(found, parameters.static().maps.expand(-1, -1, -1, 2))


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_broken_site_breaks_no_other(broken: float):
    weights = draw(SITES, WIDTH, STREAMS, seed=1)
    weights[2, 0] = broken
    found = AlignedMaps(parameters=stack_of(weights=weights), tokens=TOKENS, seed=0).chunk(0, TOKENS)
    finite = found.isfinite().all(dim=1).all(dim=1).all(dim=1)
    assert finite.tolist() == [True, True, False, True, True, True]


@pytest.mark.parametrize("size", [1e-170, 1e170])
def test_only_directions_count(size: float):
    """Squares of such weights leave float64; the mappings of the least and of saturated ones are known."""
    parameters = stack_of(weights=size * draw(SITES, WIDTH, STREAMS, seed=1))
    found = AlignedMaps(parameters=parameters, tokens=TOKENS, seed=0).chunk(0, TOKENS).numpy()
    dynamic = (found - parameters.base.numpy().swapaxes(1, 2)[..., None]) / 0.4
    np.testing.assert_allclose(abs(dynamic), 0.0 if size < 1 else 1.0, atol=1e-9)
