"""Every layout against its implementation's formulas in float64 NumPy (`formulas.py` names the cases)."""

import numpy as np
import pytest
import torch
from layouts.formulas import CASES
from layouts.reference_model import Model
from reference import disagreements, reference
from stacks import write

import mhcdiag
from mhcdiag.layouts import LAYOUTS, recognise
from mhcdiag.layouts.interface import Overrides
from mhcdiag.layouts.readings import ParametricReading
from mhcdiag.mappings.interface import Orientation
from mhcdiag.tensorfiles import open_checkpoint

TOKENS = 5
ELSEWHERE = {
    "hyper-connections",
    "hyper-connections-mhc",
    "glm5-next",
    "hy-v4",
    "qwen4-exp",
    "captured",
    "toy",
    "altup",
    "residual-scalars",
    "cross-layer",
    "post-norm",
    "plain",
    "x-transformers",
}
"""Layouts that other tests hold against their packages, and our own."""


@pytest.fixture(params=CASES)
def model(request) -> Model:
    return CASES[request.param]()


@pytest.fixture
def path(model: Model, tmp_path):
    tensors = {name: torch.tensor(value, dtype=torch.float32).contiguous() for name, value in model.tensors.items()}
    return write(tmp_path, tensors, config=model.config)


def read(path, model: Model, *, dynamic: bool) -> ParametricReading:
    checkpoint = open_checkpoint(path)
    layout, recognition = recognise(checkpoint)
    given = dict(model.settings)
    if "orientation" in given:
        given["orientation"] = Orientation(given["orientation"])
    return layout.read(checkpoint, recognition, Overrides(**given), dynamic=dynamic)


def test_every_layout_has_a_case():
    assert {CASES[name]().layout for name in CASES} | ELSEWHERE == {layout.name for layout in LAYOUTS}


def test_a_transposed_reading_would_show(model: Model):
    """Otherwise the tests below would say nothing of orientation; KromHC is symmetric by construction."""
    static = model.static()
    asymmetry = abs(static - static.swapaxes(-1, -2)).max()
    assert asymmetry < 1e-12 if model.layout == "kromhc" else asymmetry > 0.01


def test_static_inputs_give_the_gains_of_the_formulas(model: Model, path):
    result = mhcdiag.gain(path, inputs="static", **model.settings)
    assert result.layout == model.layout
    assert list(result.sites) == model.names
    assert disagreements(result, reference(model.static()), relative=2e-6) == []
    assert result.composes is (model.layout != "mhc-pytorch")


def test_random_inputs_go_through_the_formulas(model: Model, path):
    """The mappings that the drawn projected inputs give, token by token."""
    parameters = read(path, model, dynamic=True).parameters
    if not model.projections:
        assert not parameters.input_dependent
        return
    source = parameters.random(tokens=TOKENS, seed=3)
    found = source.chunk(0, TOKENS).numpy()
    for site, sampler in enumerate(source.samplers):
        drawn = sampler.draw(0, TOKENS).astype(np.float64)
        for token in range(TOKENS):
            z = drawn[:, :, token] if model.per_stream else drawn[0, :, token]
            np.testing.assert_allclose(found[site, :, :, token], model.mapping(site, z), atol=3e-5, rtol=3e-5)


def test_aligned_inputs_go_through_the_formulas(model: Model, path):
    """Streams that begin as copies of a vector, normalised as the implementation does, through its own mixing."""
    reading = read(path, model, dynamic=True)
    if "aligned" not in reading.inputs:
        assert model.layout != "bytedance-hc"
        return
    source = reading.maps("aligned", tokens=TOKENS, seed=3)
    found = source.chunk(0, TOKENS).numpy()
    for token, x in enumerate(source.inputs(0, TOKENS).numpy()):
        streams = np.tile(x, (model.streams, 1))
        for site, weight in enumerate(model.projections):
            normed = streams - streams.mean(axis=1, keepdims=True)
            z = normed / normed.std(axis=1, keepdims=True) @ weight
            np.testing.assert_allclose(found[site, :, :, token], model.mapping(site, z), atol=1e-5, rtol=1e-5)
            streams = model.mixes[site](z, streams)


def test_projections_are_cut_and_weighted_as_the_formulas_have_it(model: Model, path):
    """What the drawn inputs are distributed by: W^T W, column by column."""
    factors = read(path, model, dynamic=True).parameters.factors
    for factor, weight in zip(factors or (), model.projections, strict=True):
        centred = weight
        if model.layout == "bytedance-hc":  # LayerNorm: the mean goes, and d - 1 directions stay
            width = len(weight)
            centred = (weight - weight.mean(axis=0)) * np.sqrt(width / (width - 1))
            assert factor.inputs == width - 1
        else:
            assert factor.inputs == len(weight)
        triangle = factor.triangle.numpy()
        np.testing.assert_allclose(triangle.T @ triangle, centred.T @ centred, rtol=1e-5, atol=1e-5)


def test_one_sided_sinkhorn_bounds_hold(model: Model, path):
    """What is called exact is exact, in the direction it is called so."""
    parameters = read(path, model, dynamic=False).parameters
    static = model.static()[:, 0]
    for direction in parameters.recipe.exact_directions():
        sums = static.sum(axis=-1 if direction == "forward" else -2)
        np.testing.assert_allclose(sums, 1, atol=1e-5)
