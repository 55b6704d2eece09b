"""Aligned inputs against the package's running modules, fed with the same directions: what they mix and amplify."""

import numpy as np
import pytest
import torch
from packages.lucidrains_stacks import mixing
from reference import reference

import mhcdiag
from mhcdiag.layouts import recognise
from mhcdiag.layouts.interface import Overrides
from mhcdiag.mappings.aligned import AlignedMaps
from mhcdiag.tensorfiles import open_checkpoint

TOKENS = 24


@torch.no_grad()
def running_maps(model, x: torch.Tensor) -> np.ndarray:
    """H_res [site, token, n, n] of the modules on streams that begin as copies of x [token, dim], branches silent.

    The streams themselves go from module to module: a mapping that was read transposed sends them elsewhere.
    """
    streams = x[None, :, None, :].expand(-1, -1, model.streams, -1)
    found = []
    for _, wrapper in model.wrappers():
        found.append(mixing(model, wrapper, streams))
        _, mixed, _ = wrapper.width_connection(model.pack(streams))
        streams = model.unpack(mixed)
        streams = streams / streams.abs().amax()  # the norm takes the size away, and float32 must not run out of it
    return np.stack(found)


@pytest.mark.parametrize("name", ["hc", "hc_without_tanh", "hc_views", "hc_numbered"])
def test_gains_are_those_of_the_running_module_on_the_same_directions(build_case, name: str):
    case = build_case(name)
    checkpoint = open_checkpoint(case.path)
    layout, recognition = recognise(checkpoint)
    reading = layout.read(checkpoint, recognition, Overrides(tanh=case.activation.get("tanh")), dynamic=True)
    assert reading.inputs[0] == "aligned"
    x = AlignedMaps(parameters=reading.parameters, tokens=TOKENS, seed=3).inputs(0, TOKENS).float()
    maps = running_maps(case.model, x)
    assert abs(maps - maps.swapaxes(2, 3)).max() > 0.1, "symmetric mappings would not tell which way they are read"

    result = mhcdiag.gain(case.path, tokens=TOKENS, seed=3, **case.activation)
    assert (result.inputs, result.tokens) == ("aligned", TOKENS)
    expected = reference(maps)
    for key, values in expected.gain.items():
        np.testing.assert_allclose([float(value) for value in result.gain[key]], values, rtol=2e-3, err_msg=str(key))
    for key, value in expected.worst.items():
        assert result.worst[key].value == pytest.approx(value, rel=2e-3)
