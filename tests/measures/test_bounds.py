"""Law: no sample exceeds a bound."""

import pytest
import torch
from stacks import CONFIG, deepseek_v4_tensors, hyper_connections_tensors, write

import mhcdiag
from mhcdiag.results.numbers import log10_of

EPS = 1e-5


def assert_bounded(result: mhcdiag.GainResult) -> None:
    for direction in ("forward", "backward"):
        bound = result.bound[direction]
        for kind in ("single", "prefix", "suffix"):
            sampled = result.curve(kind, direction, "norm", "max")
            for most, number in zip(getattr(bound, kind), sampled, strict=True):
                assert log10_of(number) <= log10_of(most) + EPS
        assert log10_of(result.worst[direction, "norm"].value) <= log10_of(bound.worst) + EPS


@pytest.mark.parametrize("inputs", ["static", "random"])
def test_stochastic_mappings(tmp_path, inputs: str):
    tensors = deepseek_v4_tensors(streams=3)
    for name in tensors:
        if name.endswith("base"):
            tensors[name] *= 6  # peaked: twenty iterations do not converge
    path = write(tmp_path, tensors, config=CONFIG | {"hc_mult": 3, "hc_sinkhorn_iters": 2})
    result = mhcdiag.gain(path, inputs=inputs, tokens=499)
    assert_bounded(result)
    assert result.bound["forward"].worst == 1.0
    assert result.bound["backward"].single[0] == pytest.approx(3 - 1 + 1 / 3)
    assert result.bound["backward"].worst == 3.0
    assert "stochastic" in result.bound["backward"].why


@pytest.mark.parametrize("tanh", [True, False])
@pytest.mark.parametrize("scale", [0.01, 0.5])
def test_hyper_connections(tmp_path, tanh: bool, scale: float):
    tensors = hyper_connections_tensors()
    for name in tensors:
        if name.endswith("dynamic_alpha_scale"):
            tensors[name].fill_(scale)
    assert_bounded(mhcdiag.gain(write(tmp_path, tensors), tokens=499, tanh=tanh))


def test_the_bound_is_reached_by_some_input(tmp_path):
    """One stream, one site, no static part: x along the projection makes |alpha| sqrt(d) |w|, the bound itself."""
    tensors = hyper_connections_tensors(sites=1, streams=1, width=5)
    (path,) = {name.rsplit(".", 1)[0] for name in tensors if name.endswith("static_alpha")}
    tensors[f"{path}.static_alpha"].zero_()
    w = tensors[f"{path}.dynamic_alpha_fn"][:, 1]
    reached = 0.2 * (w / w.norm() * 5**0.5) @ w
    bound = mhcdiag.gain(write(tmp_path, tensors), tanh=False).bound["forward"].worst
    assert bound == pytest.approx(float(reached), rel=1e-5)


def test_static_inputs_bound_the_unread_part_by_tanh_or_not_at_all(tmp_path):
    path = write(tmp_path, hyper_connections_tensors())
    assert_bounded(mhcdiag.gain(path, inputs="static"))
    without = mhcdiag.gain(path, inputs="static", tanh=False).bound["forward"]
    assert without.worst is None
    assert "nothing bounds" in without.why


def test_captured_mappings_bound_nothing(tmp_path):
    from stacks import captured_tensors

    result = mhcdiag.gain(write(tmp_path, captured_tensors(torch.rand(2, 3, 2, 2))))
    assert result.bound["forward"].worst is None
