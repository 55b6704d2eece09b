"""`mhcdiag.conformance` on the packages' own mixers, applied rightly and wrongly."""

import pytest
import torch
from packages import lucidrains_stacks, transformers_models
from packages.transformers_models import DEEPSEEK_V4

import mhcdiag
from mhcdiag.errors import SettingError

CONFIG = {"hc_sinkhorn_iters": 20, "hc_eps": 1e-6, "rms_norm_eps": 1e-6, "num_hidden_layers": 1}


@pytest.fixture(scope="module")
def mixer() -> torch.nn.Module:
    model = transformers_models.deepseek_v4(layers=3, hidden=20, seed=1)
    return transformers_models.mixers(model, DEEPSEEK_V4)[0][1]


def comb(mixer: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    return mixer(x[None])[1][0]


def test_the_transformers_mixer_conforms(mixer):
    right = mhcdiag.conformance(mixer, "deepseek-v4", apply=lambda x: comb(mixer, x).mT @ x, config=CONFIG)
    assert right.findings == ()
    assert right.overall["as it is"] < 1e-5


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        (lambda mixer, x: comb(mixer, x) @ x, "H is applied transposed"),
        (lambda _, x: x, "the streams are never mixed"),
        (lambda mixer, x: comb(mixer, x).mT @ x.flip(1), "x_out follows neither"),
    ],
)
def test_the_bugs_of_the_last_year_are_named(mixer, wrong, found: str):
    result = mhcdiag.conformance(mixer, "deepseek-v4", apply=lambda x: wrong(mixer, x), config=CONFIG)
    assert [finding.severity for finding in result.findings] == ["fail"]
    assert found in result.findings[0].what


def test_another_shape_is_refused(mixer):
    with pytest.raises(SettingError, match="give apply="):
        mhcdiag.conformance(mixer, "deepseek-v4", apply=lambda x: x[:1], config=CONFIG)


def test_a_module_with_other_iterations_is_named(mixer):
    config = CONFIG | {"hc_sinkhorn_iters": 3}
    result = mhcdiag.conformance(mixer, "deepseek-v4", apply=lambda x: comb(mixer, x).mT @ x, config=config)
    assert "follows 20 Sinkhorn iterations" in result.findings[0].what


LUCIDRAINS = {
    "hc": "hyper-connections",
    "hc_views": "hyper-connections",
    "mhc": "hyper-connections-mhc",
    "mhc_proposals": "hyper-connections-mhc",
    "mhc_v2": "hyper-connections-mhc",
    "mhc_v2_proposals": "hyper-connections-mhc",
}


def wrapper(kind: str) -> torch.nn.Module:
    return lucidrains_stacks.stack(kind, sites=2, streams=3, dim=11, seed=4).wrappers()[0][1]


@pytest.mark.parametrize("kind", LUCIDRAINS)
def test_the_wrappers_of_hyper_connections_conform(kind: str):
    result = mhcdiag.conformance(wrapper(kind), LUCIDRAINS[kind])
    assert result.findings == ()
    assert result.overall["as it is"] < 1e-4


def test_a_wrapper_that_drops_the_mixed_streams_is_named(monkeypatch):
    site = wrapper("mhc")
    mixing = type(site).width_connection

    def forgetful(streams):
        branch_input, _, kept = mixing(site, streams)
        return branch_input, streams, kept

    monkeypatch.setattr(site, "width_connection", forgetful)
    result = mhcdiag.conformance(site, "hyper-connections-mhc")
    assert "the streams are never mixed" in result.findings[0].what


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("hc_without_tanh", "follows no tanh on the input-dependent part"),
        ("mhc_three_iterations", "follows 3 Sinkhorn iterations"),
    ],
)
def test_options_that_tensors_do_not_tell_are_named(kind: str, found: str):
    layout = "hyper-connections" if kind.startswith("hc") else "hyper-connections-mhc"
    assert found in mhcdiag.conformance(wrapper(kind), layout).findings[0].what


def test_a_layout_without_projection_is_refused(mixer):
    blocks = torch.nn.ModuleList([torch.nn.ModuleDict({"mlp": torch.nn.Linear(2, 2)})])
    model = torch.nn.ModuleDict({"layers": blocks})
    with pytest.raises(SettingError, match="layout plain has no projection to compare"):
        mhcdiag.conformance(model, "plain", config={"model_type": "llama"})
