"""The checks of models with one residual stream: each on a sick model, made by doing the bug, and on a healthy one."""

import re

import numpy as np
import pytest
import torch
from stacks import write

import mhcdiag

LAYERS, HEADS, GROUPS, CHANNELS, WIDTH, HIDDEN = 5, 6, 2, 7, 29, 31
CONFIG = {
    "model_type": "llama",
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": GROUPS,
    "head_dim": CHANNELS,
    "hidden_size": WIDTH,
}


def llama(*, gain: float = 1.0) -> dict[str, torch.Tensor]:
    """The tensors of a small Llama, all random; `gain` is that of the output projections."""
    generator = torch.Generator().manual_seed(0)

    def random(rows: int, columns: int, times: float = 1.0) -> torch.Tensor:
        return torch.randn(rows, columns, generator=generator) * times * (2 / (rows + columns)) ** 0.5

    tensors = {"model.embed_tokens.weight": random(61, WIDTH), "model.norm.weight": torch.ones(WIDTH)}
    for layer in range(LAYERS):
        path = f"model.layers.{layer}."
        tensors |= {
            path + "input_layernorm.weight": 1 + 0.1 * torch.randn(WIDTH, generator=generator),
            path + "post_attention_layernorm.weight": 1 + 0.1 * torch.randn(WIDTH, generator=generator),
            path + "self_attn.q_proj.weight": random(HEADS * CHANNELS, WIDTH),
            path + "self_attn.k_proj.weight": random(GROUPS * CHANNELS, WIDTH),
            path + "self_attn.v_proj.weight": random(GROUPS * CHANNELS, WIDTH, gain),
            path + "self_attn.o_proj.weight": random(WIDTH, HEADS * CHANNELS, gain),
            path + "mlp.down_proj.weight": random(WIDTH, HIDDEN, gain),
        }
    return tensors


def check(tmp_path, name: str, tensors, config=None, **options):
    """One check of a model."""
    (found,) = mhcdiag.health(write(tmp_path, tensors, config=CONFIG | (config or {})), only=[name], **options).checks
    return found


def said(found) -> list[str]:
    return [f"{finding.severity} {finding.what}" for finding in found.findings]


def test_a_healthy_plain_model_is_silent(tmp_path):
    result = mhcdiag.health(write(tmp_path, llama(), config=CONFIG))
    assert [finding for each in result.checks for finding in each.findings] == []
    assert {"attention", "norms", "writers"} < {each.name for each in result.checks if not each.not_checkable}


class TestAttention:
    """Bounds of the attention logits."""

    def test_the_bound_is_the_product_of_spectral_norms_where_positions_rotate(self, tmp_path):
        tensors = llama()
        found = check(tmp_path, "attention", tensors)
        for layer in range(LAYERS):
            path = f"model.layers.{layer}."
            gamma = tensors[path + "input_layernorm.weight"].double().numpy()
            query = tensors[path + "self_attn.q_proj.weight"].double().numpy().reshape(HEADS, CHANNELS, WIDTH) * gamma
            key = tensors[path + "self_attn.k_proj.weight"].double().numpy().reshape(GROUPS, CHANNELS, WIDTH) * gamma
            pairs = [(query[head], key[head // (HEADS // GROUPS)]) for head in range(HEADS)]
            bound = max(np.linalg.norm(q, 2) * np.linalg.norm(k, 2) for q, k in pairs) * WIDTH / CHANNELS**0.5
            spectral = max(np.linalg.norm(q.T @ k, 2) for q, k in pairs) / CHANNELS**0.5
            assert found.per_site["bound"][layer] == pytest.approx(bound, rel=1e-5)
            assert found.per_site["spectral"][layer] == pytest.approx(spectral, rel=1e-5)

    def test_doubling_the_queries_doubles_the_bound(self, tmp_path):
        tensors = llama()
        before = check(tmp_path / "before", "attention", tensors).overall["bound"]
        for name in tensors:
            if "q_proj" in name:
                tensors[name] = tensors[name] * 2
        assert check(tmp_path / "after", "attention", tensors).overall["bound"] == pytest.approx(2 * before, rel=1e-6)

    def test_norms_behind_the_projections_bound_whatever_these_are(self, tmp_path):
        tensors = llama()
        for name in list(tensors):
            if "q_proj" in name:
                tensors[name] = tensors[name] * 1e4
                norm = name.replace("q_proj", "q_norm")
                tensors[norm], tensors[norm.replace("q_norm", "k_norm")] = torch.full((2, CHANNELS), 1.5)
        found = check(tmp_path, "attention", tensors)
        assert found.overall["bound"] == pytest.approx(CHANNELS**0.5 * 1.5**2, rel=1e-6)
        assert said(found) == []

    @pytest.mark.parametrize(("times", "severity"), [(1e3, "note"), (1e5, "warn")])
    def test_large_projections_are_named(self, tmp_path, times: float, severity: str):
        tensors = llama()
        tensors["model.layers.3.self_attn.q_proj.weight"][2 * CHANNELS : 3 * CHANNELS] *= times
        found = check(tmp_path, "attention", tensors)
        assert [finding.site for finding in found.findings] == ["model.layers.3"]
        assert re.fullmatch(
            rf"{severity} logits of head 2 are bounded by .* only \(> 1(0000|e\+06)\).*", said(found)[0]
        )

    def test_growth_since_an_earlier_checkpoint(self, tmp_path):
        earlier = write(tmp_path / "earlier", llama(), config=CONFIG)
        tensors = llama()
        assert said(check(tmp_path / "same", "attention", tensors, against=earlier)) == []
        tensors["model.layers.1.self_attn.k_proj.weight"] *= 5
        found = check(tmp_path / "grown", "attention", tensors, against=earlier)
        assert said(found) == ["warn the bound is 5 times that of the earlier checkpoint (> 4)"]

    def test_a_head_of_rank_one_is_named(self, tmp_path):
        tensors = llama()
        rows = tensors["model.layers.2.self_attn.q_proj.weight"][:CHANNELS]
        rows[:] = rows[:1] * torch.arange(1, CHANNELS + 1)[:, None]
        found = check(tmp_path, "attention", tensors)
        assert said(found) == ["note a head's W_q^T W_k has effective rank 1.00 (< 1.5)"]

    @pytest.mark.parametrize(
        ("config", "factor"),
        [
            ({"query_pre_attn_scalar": 4 * CHANNELS}, 0.5),
            ({"attention_multiplier": 1.0}, CHANNELS**0.5),
        ],
    )
    def test_other_scales_of_the_logits(self, tmp_path, config, factor: float):
        usual = check(tmp_path / "usual", "attention", llama()).overall["bound"]
        assert check(tmp_path / "other", "attention", llama(), config).overall["bound"] == pytest.approx(usual * factor)

    def test_a_cap_of_the_model_is_the_bound(self, tmp_path):
        assert check(tmp_path, "attention", llama(), {"attn_logit_softcapping": 3.5}).overall["bound"] == 3.5

    @pytest.mark.parametrize(
        ("config", "tensors", "why"),
        [
            ({"num_attention_heads": None}, llama(), "does not say the number of heads"),
            ({"num_attention_heads": 5}, llama(), "no projection fits the heads"),
            ({}, {"model.layers.0.mlp.w1.weight": torch.ones(2, 2)}, "under a known name"),
            ({}, {name: t.to(torch.float8_e4m3fn) for name, t in llama().items()}, "stored as F8_E4M3"),
        ],
    )
    def test_what_cannot_be_read_is_said(self, tmp_path, config, tensors, why: str):
        found = check(tmp_path, "attention", tensors, config)
        assert why in found.not_checkable
        assert found.overall == {}


class TestNorms:
    """Norm weights."""

    @pytest.mark.parametrize(
        ("change", "what"),
        [
            (lambda weight: weight[:1].fill_(float("nan")), "fail a norm weight holds NaN or infinity"),
            (lambda weight: weight[:1].mul_(900), "warn the largest weight is"),
            (lambda weight: weight[:1].mul_(90), "note the largest weight is"),
            (lambda weight: weight[:9].zero_(), r"warn 0\.31 of the weights are under 0\.001 of the median"),
            (lambda weight: weight.zero_(), "warn 1 of the weights are under"),
            (lambda weight: weight[:9].neg_(), r"note 0\.31 of the weights are negative"),
        ],
    )
    def test_sick_weights_are_named(self, tmp_path, change, what: str):
        tensors = llama()
        change(tensors["model.layers.3.input_layernorm.weight"])
        found = check(tmp_path, "norms", tensors)
        assert re.match(what, said(found)[0])
        assert [finding.site for finding in found.findings] == ["model.layers.3.input_layernorm.weight"]

    def test_weights_stored_less_one_are_read_as_they_are_applied(self, tmp_path):
        tensors = {name: t - 1 if "norm" in name else t for name, t in llama().items()}
        assert said(check(tmp_path / "gemma", "norms", tensors, {"model_type": "gemma2"})) == []
        assert said(check(tmp_path / "llama", "norms", tensors)) != []


class TestWriters:
    """Output projections over depth."""

    def test_the_numbers_are_those_of_the_definition(self, tmp_path):
        tensors = llama()
        found = check(tmp_path, "writers", tensors)
        for name, module in (("attention", "self_attn.o_proj"), ("feed_forward", "mlp.down_proj")):
            for layer in range(LAYERS):
                weight = tensors[f"model.layers.{layer}.{module}.weight"].double().numpy()
                spectral = np.linalg.norm(weight, 2)
                assert found.per_site[f"{name}_rms"][layer] == pytest.approx(np.linalg.norm(weight) / WIDTH**0.5)
                assert 0.97 * spectral < found.per_site[f"{name}_spectral"][layer] <= spectral * (1 + 1e-6)

    @pytest.mark.parametrize(
        ("change", "what"),
        [
            (lambda weight: weight.view(-1)[:1].fill_(float("inf")), "fail the output projection holds NaN"),
            (lambda weight: weight.add_(30), "warn its largest singular value is"),
            (lambda weight: weight.mul_(1e-3), r"warn writes 0\.0009\d* of the median of its kind"),
        ],
    )
    def test_sick_writers_are_named(self, tmp_path, change, what: str):
        tensors = llama()
        change(tensors["model.layers.1.mlp.down_proj.weight"])
        found = check(tmp_path, "writers", tensors)
        assert re.match(what, said(found)[0])
        assert [finding.site for finding in found.findings] == ["model.layers.1.mlp.down_proj.weight"]


class TestScales:
    """DeepNorm and stated factors."""

    ALPHA = (2 * LAYERS) ** 0.25
    BETA = (8 * LAYERS) ** -0.25

    def test_deepnorm_as_published_is_silent(self, tmp_path):
        found = check(tmp_path, "deepnorm", llama(gain=self.BETA), {"deepnorm": True, "deepnorm_alpha": self.ALPHA})
        assert said(found) == []
        assert found.overall["gain"] == pytest.approx(self.BETA, rel=0.1)

    def test_another_alpha_is_named(self, tmp_path):
        found = check(tmp_path, "deepnorm", llama(gain=self.BETA), {"deepnorm_alpha": 1.0})
        assert said(found) == ["warn alpha is 1, (2N)^1/4 = 1.778 for N = 5 blocks"]

    def test_a_start_without_beta_is_named(self, tmp_path):
        found = check(tmp_path, "deepnorm", llama(), {"deepnorm": True})
        assert "times the gain of queries and keys, (8N)^-1/4 = 0.398" in said(found)[0]

    @pytest.mark.parametrize("config", [{}, {"deepnorm": False}])
    def test_models_without_deepnorm_are_left_alone(self, tmp_path, config):
        assert check(tmp_path, "deepnorm", llama(), config).not_checkable == "the configuration says no DeepNorm"

    @pytest.mark.parametrize(
        ("config", "what"),
        [
            ({"residual_multiplier": 0.22}, []),
            ({"scale_depth": 1.4}, []),
            ({"residual_multiplier": 1e-4}, ["1 of 1 branch factors are under 0.001 (first: residual_multiplier)"]),
            ({"residual_multiplier": 22.0}, ["1 of 1 branch factors are above 10 (first: residual_multiplier)"]),
        ],
    )
    def test_stated_factors_count_as_branch_factors(self, tmp_path, config, what):
        found = check(tmp_path, "scales", llama(), config)
        assert [finding.what for finding in found.findings] == what
        assert found.overall["branch_scales"] == 1
