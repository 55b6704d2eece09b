"""Topologies at their start and their own laws."""

import pytest
import torch

from mhcdiag.errors import SettingError
from mhcdiag.toy.model import CONNECTION, ToyModel, initial_parameters
from mhcdiag.toy.settings import ToySettings
from mhcdiag.toy.topologies import TOPOLOGIES, topology_for
from mhcdiag.toy.training import forward_pass, measure

NAMES = [topology.name for topology in TOPOLOGIES]
TOKENS = torch.randint(0, 11, (3, 7), generator=torch.Generator().manual_seed(5))


def small(topology: str, **changes) -> ToyModel:
    settings = ToySettings(
        **{"topology": topology, "depth": 3, "width": 10, "heads": 2, "streams": 3, "context": 13, "seed": 2} | changes
    )
    return ToyModel(settings, initial_parameters(settings, vocabulary=11))


def shaken(model: ToyModel) -> ToyModel:
    """The model with random connection parameters of every role."""
    generator = torch.Generator().manual_seed(3)
    for name, value in model.parameters.items():
        if name.startswith(CONNECTION):
            value.add_(0.5 * torch.randn(value.shape, generator=generator))
    return model


@pytest.mark.parametrize("topology", ["hc", "identity-hc"])
def test_without_dynamic_part_the_start_is_the_residual_model(topology: str):
    model = small(topology)
    for name, value in model.parameters.items():
        if name.startswith(f"{CONNECTION}alpha"):
            value.zero_()
    torch.testing.assert_close(model.logits(TOKENS), small("residual").logits(TOKENS), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("topology", NAMES)
def test_all_topologies_begin_with_the_same_transformer(topology: str):
    own, baseline = small(topology).parameters, small("residual").parameters
    for name, value in baseline.items():
        assert torch.equal(own[name], value), name


@pytest.mark.parametrize("topology", NAMES)
def test_the_gain_starts_near_one(topology: str):
    probe = measure(small(topology), TOKENS)
    assert probe.gain_forward == pytest.approx(1, abs=0.05)
    assert probe.gain_backward == pytest.approx(1, abs=0.05)


def test_mhc_rows_are_exact_and_columns_nearly():
    for site in forward_pass(shaken(small("mhc", streams=4)), TOKENS):
        matrices = site.maps.res
        assert (matrices >= 0).all()
        torch.testing.assert_close(matrices.sum(dim=2), torch.ones(21, 4), rtol=0, atol=1e-5)
        assert (matrices.sum(dim=1) - 1).abs().max() < 0.2


@pytest.mark.parametrize("streams", [2, 3, 4])
def test_mhc_lite_is_exactly_doubly_stochastic(streams: int):
    for site in forward_pass(shaken(small("mhc-lite", streams=streams)), TOKENS):
        for axis in (1, 2):
            torch.testing.assert_close(site.maps.res.sum(dim=axis), torch.ones(21, streams), rtol=0, atol=1e-6)


def test_mhc_lite_gains_are_one_whatever_the_parameters():
    probe = measure(shaken(small("mhc-lite", depth=11)), TOKENS)
    assert (probe.gain_forward, probe.gain_backward) == pytest.approx((1, 1), abs=1e-5)


def test_hyper_connections_can_amplify():
    assert measure(shaken(small("hc", depth=11)), TOKENS).gain_forward > 3


@pytest.mark.parametrize("topology", NAMES)
def test_every_parameter_learns(topology: str):
    model = shaken(small(topology))
    for value in model.parameters.values():
        value.requires_grad_()
    model.loss(TOKENS).backward()
    for name, value in model.parameters.items():
        assert value.grad is not None, name
        assert value.grad.abs().max() > 0, name


def test_the_model_cannot_see_the_future():
    model = shaken(small("mhc"))
    changed = TOKENS.clone()
    changed[:, 4:] = (changed[:, 4:] + 1) % 11
    before, after = model.logits(TOKENS), model.logits(changed)
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])


@pytest.mark.parametrize(("dtype", "largest"), [("fp16", 65504.0), ("bf16", 3.38e38)])
def test_a_narrow_stream_overflows_where_its_type_ends(dtype: str, largest: float):
    model = small("residual", stream_dtype=dtype)
    model.parameters["ffn.down"][0] *= 1e9
    finite = measure(small("residual"), TOKENS)
    assert finite.stream_max < largest
    assert (measure(model, TOKENS).stream_max == float("inf")) == (dtype == "fp16")


def test_qk_norm_changes_the_model():
    assert not torch.allclose(small("hc", qk_norm=True).logits(TOKENS), small("hc").logits(TOKENS))


def test_an_unknown_topology_is_refused_by_name():
    with pytest.raises(SettingError, match=r"no topology 'khc'; there are residual, hc, mhc"):
        topology_for(ToySettings(topology="khc"))
