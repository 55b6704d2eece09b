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


class TestWholeModels:
    """Every site of a model, as it runs."""

    def test_a_model_of_transformers_conforms(self):
        model = transformers_models.deepseek_v4(layers=3, hidden=20, seed=1)
        modes = [module.training for module in model.modules()]
        result = mhcdiag.conformance(model, "deepseek-v4")
        assert result.findings == ()
        assert len(result.per_site["as it is"]) == 6
        assert result.overall["as it is"] < 1e-5
        assert result.overall["scale"] < 1e-5
        assert [module.training for module in model.modules()] == modes
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())

    def test_its_own_configuration_is_read(self):
        model = transformers_models.deepseek_v4(layers=2, hidden=20, iterations=3, seed=1)
        assert mhcdiag.conformance(model, "deepseek-v4").findings == ()
        other = model.config.to_dict() | {"hc_sinkhorn_iters": 20}
        found = mhcdiag.conformance(model, "deepseek-v4", config=other).findings
        assert "follows 3 Sinkhorn iterations" in found[0].what

    def test_another_family_conforms(self):
        model = transformers_models.glm5_next(layers=2, hidden=16, seed=1).float()
        assert mhcdiag.conformance(model, "glm5-next").findings == ()

    @pytest.mark.parametrize(
        ("applied", "found"),
        [
            (lambda comb: comb, "H is applied transposed at all 3 ffn_hc sites of 6 (model.layers.0.ffn_hc, "),
            (lambda comb: 1.01 * comb.mT, "x_out is H x times 1.01 at all 3 ffn_hc sites of 6 "),
        ],
    )
    def test_what_half_of_the_sites_do_is_named(self, applied, found: str):
        model = transformers_models.deepseek_v4(layers=3, hidden=20, seed=1)
        for layer in model.model.layers:
            layer.forward = port(layer, applied)
        findings = mhcdiag.conformance(model, "deepseek-v4").findings
        assert [finding.severity for finding in findings] == ["fail"]
        assert findings[0].what.startswith(found)

    @pytest.mark.parametrize("kind", ["hc", "mhc"])
    def test_two_stacks_of_wrappers_conform(self, kind: str):
        from packages.live_models import Towers

        model = Towers()
        model.encoder, model.decoder = (
            lucidrains_stacks.stack(kind, sites=4, streams=3, dim=11, seed=seed) for seed in (1, 2)
        )
        ids = lucidrains_stacks.token_ids(0)
        result = mhcdiag.conformance(model, LUCIDRAINS[kind], run=lambda: model(ids))
        assert result.findings == ()
        assert len(result.per_site["as it is"]) == 8

    def test_a_model_that_cannot_be_run_is_one_of_our_errors(self):
        model = lucidrains_stacks.stack("hc", sites=4, streams=3, dim=11, seed=1)
        with pytest.raises(SettingError, match="does not say how many tokens it knows; give run="):
            mhcdiag.conformance(model, "hyper-connections")
        with pytest.raises(mhcdiag.MhcdiagError, match=r"cannot be run .*: ZeroDivisionError"):
            mhcdiag.conformance(model, "hyper-connections", run=lambda: 1 / 0)


def port(layer: torch.nn.Module, applied):
    """A decoder layer that applies `comb` of its second site in some way."""

    def forward(hidden_states, input_ids=None, **kwargs):
        post, comb, read = layer.attn_hc(hidden_states)
        added = layer.self_attn(layer.input_layernorm(read), **kwargs)[0]
        hidden_states = post[..., None] * added[..., None, :] + comb.mT @ hidden_states
        post, comb, read = layer.ffn_hc(hidden_states)
        added = layer.mlp(layer.post_attention_layernorm(read), input_ids=input_ids)
        return post[..., None] * added[..., None, :] + applied(comb) @ hidden_states

    return forward


class Broken(torch.nn.Module):
    def state_dict(self, *_args, **_kwargs):
        raise RuntimeError("sharded")


@pytest.mark.parametrize(
    ("module", "options", "said"),
    [
        (lambda: 7, {}, "modules of torch; this is int"),
        (Broken, {}, "gives no state_dict: sharded"),
        (lambda: torch.nn.Linear(2, 2), {}, "no mixer|no known|nothing"),
        (lambda: wrapper("hc"), {"layout": "no such layout"}, "no such layout"),
        (lambda: wrapper("hc"), {"config": 3}, "config is int"),
        (lambda: wrapper("hc"), {"apply": lambda _: None}, "returned NoneType for streams"),
        (lambda: wrapper("hc"), {"apply": lambda x: x / "a"}, "the module raised TypeError"),
        (lambda: wrapper("hc"), {"apply": lambda x: x.to("meta")}, "give apply="),
        (lambda: wrapper("mhc"), {}, "hyper-connections"),
    ],
)
def test_whatever_is_handed_over_errors_are_ours(module, options: dict, said: str):
    options = {"layout": "hyper-connections"} | options
    with pytest.raises(mhcdiag.MhcdiagError, match=said):
        mhcdiag.conformance(module(), **options)
