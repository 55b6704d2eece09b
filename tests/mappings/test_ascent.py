"""What some input reaches: more than any that is drawn, less than the bound, and by inputs that exist."""

import numpy as np
import pytest
import torch
from mappings.test_aligned import STREAMS, WIDTH, draw, stack_of
from stacks import hyper_connections_tensors, write

import mhcdiag
from mhcdiag.mappings.aligned import AlignedMaps
from mhcdiag.mappings.ascent import DRAWN_STARTS, ascended
from mhcdiag.mappings.bounds import parametric_bounds
from mhcdiag.mappings.interface import Orientation
from mhcdiag.mappings.parametric import Activation, ParametricStack, StaticMaps
from mhcdiag.measures.gain import measure_gains, with_reached
from mhcdiag.results.gain import Definition, Direction

CASES = [
    (Orientation.SOURCE_ROWS, Activation.TANH, False),
    (Orientation.TARGET_ROWS, Activation.TANH, True),
    (Orientation.SOURCE_ROWS, Activation.NONE, True),
    (Orientation.TARGET_ROWS, Activation.NONE, False),
]


def searched(parameters: ParametricStack) -> StaticMaps | None:
    """What the search finds from the starts that a measurement gives it."""
    return ascended(parameters, AlignedMaps(parameters=parameters, tokens=DRAWN_STARTS, seed=0))


def case(orientation, activation, with_offset: bool, *, seed: int, sites: int = 5):
    size = 10.0 ** np.random.default_rng(seed).uniform(-2, 0.5)  # tanh nearly linear, or saturated
    return stack_of(
        orientation=orientation,
        activation=activation,
        offset=draw(sites, STREAMS, seed=seed + 100) if with_offset else None,
        weights=size * draw(sites, WIDTH, STREAMS, seed=seed + 200),
        base=0.5 * draw(sites, STREAMS, STREAMS, seed=seed + 300),
        scale=-0.3,
    )


def whole_gains(maps: torch.Tensor) -> dict[Direction, np.ndarray]:
    """Per token the gain of the product of all sites."""
    each = maps.permute(3, 0, 1, 2).double().numpy()
    products = np.stack([np.linalg.multi_dot(list(token[::-1])) for token in each])
    return {
        Direction.FORWARD: abs(products).sum(axis=2).max(axis=1),
        Direction.BACKWARD: abs(products).sum(axis=1).max(axis=1),
    }


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("orientation", "activation", "with_offset"), CASES)
def test_no_sampled_input_amplifies_more_and_no_bound_less(orientation, activation, with_offset: bool, seed: int):
    parameters = case(orientation, activation, with_offset, seed=seed)
    found = searched(parameters)
    reached = whole_gains(found.maps)
    reached = {Direction.FORWARD: reached[Direction.FORWARD][0], Direction.BACKWARD: reached[Direction.BACKWARD][1]}
    bounds = parametric_bounds(parameters)
    sampled = [parameters.random(tokens=500, seed=seed), AlignedMaps(parameters=parameters, tokens=500, seed=seed)]
    for direction in Direction:
        for source in sampled:
            drawn = whole_gains(source.chunk(0, 500))[direction].max()
            assert drawn <= reached[direction] * (1 + 1e-5)
        assert reached[direction] <= bounds[direction].prefix[-1] * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("orientation", "activation", "with_offset"), CASES)
def test_what_is_reached_is_reached_by_inputs_that_exist(orientation, activation, with_offset: bool, seed: int):
    """Every stored row is base + scale act(W^T x + offset) of some x of length sqrt(d)."""
    parameters = case(orientation, activation, with_offset, seed=seed)
    maps = searched(parameters).maps.numpy()
    stored = maps.swapaxes(1, 2) if orientation is Orientation.SOURCE_ROWS else maps
    for site, factor in enumerate(parameters.factors):
        dynamic = (stored[site] - parameters.base[site].numpy()[..., None]) / float(parameters.scale[site])
        logits = np.arctanh(dynamic.clip(-1 + 1e-15, 1 - 1e-15)) if activation is Activation.TANH else dynamic
        if parameters.offset is not None:
            logits = logits - parameters.offset[site].numpy()[:, None]
        weight = factor.weight.numpy()
        for row in logits.transpose(0, 2, 1).reshape(-1, STREAMS):
            if abs(row).max() > 15:
                continue  # tanh has rounded to 1: the logit cannot be had back
            shortest = np.linalg.lstsq(weight.T, row, rcond=None)[0]
            np.testing.assert_allclose(weight.T @ shortest, row, rtol=1e-6, atol=1e-9)
            assert np.linalg.norm(shortest) <= WIDTH**0.5 * (1 + 1e-6)


def test_one_site_without_tanh_reaches_its_bound():
    """|b| + |alpha| sqrt(d) |w| for one stream: along w, with the sign that fits."""
    from mhcdiag.mappings.inputs import InputNorm, logit_factor
    from mhcdiag.mappings.interface import Stack
    from mhcdiag.mappings.parametric import ParametricStack, Recipe

    weight = draw(WIDTH, 1, seed=1)
    recipe = Recipe(
        norm=InputNorm(per_stream=True, eps=0.0),
        activation=Activation.NONE,
        constraint=None,
        orientation=Orientation.SOURCE_ROWS,
    )
    parameters = ParametricStack(
        stack=Stack(sites=("a",), tensors=("a",), streams=1),
        depths=(0,),
        recipe=recipe,
        base=torch.tensor([[[-0.7]]]).double(),
        scale=torch.tensor([0.2]).double(),
        factors=(logit_factor(torch.tensor(weight), keep=True),),
    )
    expected = 0.7 + 0.2 * WIDTH**0.5 * np.linalg.norm(weight)
    np.testing.assert_allclose(abs(searched(parameters).maps.numpy()), expected)


def test_parameters_that_are_not_finite_are_not_searched():
    parameters = stack_of(weights=np.full((2, WIDTH, STREAMS), np.nan), base=draw(2, STREAMS, STREAMS))
    assert searched(parameters) is None


def test_the_record_says_what_is_reached_beside_the_bound(tmp_path):
    path = write(tmp_path, hyper_connections_tensors())
    result = mhcdiag.gain(path, tokens=200)
    for direction in Direction:
        bound = result.bound[direction]
        sampled = [max(result.curve(kind, direction, "norm", "max")) for kind in ("single", "prefix", "suffix")]
        assert max(*sampled, result.worst[direction, Definition.NORM].value) <= bound.reached <= bound.worst
        assert bound.reached > 1.1 * max(sampled)
    static = mhcdiag.gain(path, inputs="static")
    assert static.bound[Direction.FORWARD].reached is None, "the projection was not read"


def test_what_was_measured_counts_as_reached():
    """Where a drawn input happens to amplify more than the search found, it is what is reached."""
    parameters = case(*CASES[0], seed=0)
    source = AlignedMaps(parameters=parameters, tokens=50, seed=0)
    gains = measure_gains(source, exact_side=None)
    least = parameters.static()
    found = with_reached(parametric_bounds(parameters), least, gains)
    largest = whole_gains(source.chunk(0, 50))[Direction.FORWARD].max()
    assert found[Direction.FORWARD].reached >= largest * (1 - 1e-12)
