"""The checks of models with one residual stream: each on a sick model, made by doing the bug, and on a healthy one."""

import re

import numpy as np
import pytest
import torch
from stacks import write

import mhcdiag
from mhcdiag.cli.main import run

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

    @pytest.mark.parametrize("part", ["q_proj", "k_proj"])
    def test_a_head_of_zeros_attends_evenly(self, tmp_path, part: str):
        tensors = llama()
        tensors[f"model.layers.2.self_attn.{part}.weight"][:CHANNELS] = 0
        found = check(tmp_path, "attention", tensors)
        count = 1 if part == "q_proj" else HEADS // GROUPS
        what = f"W_q or W_k of {count} of its heads is zero: they attend evenly, whatever the inputs"
        assert said(found) == [f"warn {what}"]
        assert found.findings[0].site == "model.layers.2"
        assert found.overall["rank"] > 1.5, "of the heads that have any"
        tensors["model.layers.2.self_attn.q_proj.bias"] = torch.ones(HEADS * CHANNELS)
        if part == "q_proj":
            assert said(check(tmp_path / "biased", "attention", tensors)) == [], "the bias looks at keys"

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

    def test_a_cap_is_the_bound_where_the_family_applies_it(self, tmp_path):
        """Llama's module passes over such a key."""
        capped = {"attn_logit_softcapping": 3.5}
        assert (
            check(tmp_path / "gemma", "attention", llama(), capped | {"model_type": "gemma2"}).overall["bound"] == 3.5
        )
        assert check(tmp_path / "llama", "attention", llama(), capped).overall["bound"] > 20

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


class TestWhatIsTakenForGranted:
    """What the bounds of the attention do not rest on is said."""

    def skipped(self, tmp_path, tensors=None, config=None) -> tuple[str, ...]:
        given = llama() if tensors is None else tensors
        return check(tmp_path, "attention", given, config, assume="plain").skipped

    def test_nothing_of_a_family_that_was_compared(self, tmp_path):
        assert self.skipped(tmp_path) == ()

    @pytest.mark.parametrize(
        ("kind", "named"), [("my_llama", "model_type 'my_llama'"), ("", "a model without model_type")]
    )
    def test_the_code_of_another_family(self, tmp_path, kind: str, named: str):
        said = "was not compared with its code: norms without weights and other scales would not show"
        assert self.skipped(tmp_path, config={"model_type": kind}) == (f"{named} {said}",)

    @pytest.mark.parametrize("key", ["rope_scaling", "rope_parameters"])
    def test_an_unknown_way_to_stretch_positions(self, tmp_path, key: str):
        found = self.skipped(tmp_path, config={key: {"type": "elastic", "factor": 2.0}})
        assert found == ("rope type 'elastic' is not known: it may enlarge queries and keys",)

    def test_blocks_of_another_size_and_without_attention(self, tmp_path):
        tensors = llama()
        tensors["model.layers.1.self_attn.q_proj.weight"] = torch.ones(HEADS * CHANNELS + 1, WIDTH)
        del tensors["model.layers.2.self_attn.k_proj.weight"]
        found = check(tmp_path, "attention", tensors)
        assert found.skipped == (
            "1 blocks whose projections do not fit the heads of config.json (first: model.layers.1)",
            "1 blocks without query and key projections under a known name (first: model.layers.2)",
        )
        assert found.per_site == {}

    @pytest.mark.parametrize("name", ["logit_scale", "temperature.weight", "q_conv.weight", "q_proj.lora_A.weight"])
    def test_tensors_beside_the_projections(self, tmp_path, name: str):
        found = self.skipped(tmp_path, llama() | {f"model.layers.3.self_attn.{name}": torch.ones(3)})
        said = f"1 tensors beside the projections that may change the logits (first: model.layers.3.self_attn.{name})"
        assert found == (said,)

    @pytest.mark.parametrize("name", ["rotary_emb.inv_freq", "sinks", "g_proj.weight", "q_proj.bias"])
    def test_tensors_that_leave_logits_alone_or_are_read(self, tmp_path, name: str):
        size = HEADS * CHANNELS if name == "q_proj.bias" else 3
        assert self.skipped(tmp_path, llama() | {f"model.layers.3.self_attn.{name}": torch.ones(size)}) == ()

    def test_blocks_without_a_norm_before(self, tmp_path):
        tensors = {name: t for name, t in llama().items() if "layers.2.input_layernorm" not in name}
        found = self.skipped(tmp_path, tensors)
        assert found == ("1 blocks without a norm before under a known name: inputs of RMS 1 assumed (model.layers.2)",)

    def test_it_counts_under_strict(self, tmp_path, capsys):
        path = str(write(tmp_path, llama(), config=CONFIG | {"model_type": "my_llama"}))
        assert run(["health", path, "--only", "attention"]) == 2  # what its residual stream does is not known
        capsys.readouterr()
        assert run(["health", path, "--only", "attention", "--assume", "plain"]) == 0
        assert "skipped: model_type 'my_llama' was not compared" in capsys.readouterr().out
        assert run(["health", path, "--only", "attention", "--assume", "plain", "--strict"]) == 2

    @pytest.mark.parametrize(
        ("name", "rotates"),
        [("model.embed_positions.weight", False), ("audio_tower.embed_positions.weight", True)],
    )
    def test_learned_positions_of_another_tower_say_nothing(self, tmp_path, name: str, rotates: bool):
        usual = check(tmp_path / "usual", "attention", llama()).overall["bound"]
        found = check(tmp_path / "other", "attention", llama() | {name: torch.ones(3, 3)}).overall["bound"]
        assert (found == pytest.approx(usual)) is rotates
        assert found <= usual


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
        assert {finding.site for finding in found.findings} == {"model.layers.3.input_layernorm.weight"}

    @pytest.mark.parametrize(
        ("times", "found"),
        [
            (1e-6, "warn its median is a factor of 1e+06 away from that of the same norm in the other layers (> 1000)"),
            (3e-3, "note its median is a factor of "),
            (2e3, "warn its median is a factor of "),
            (0.05, None),
        ],
    )
    def test_a_weight_that_is_scaled_as_a_whole_is_named(self, tmp_path, times: float, found: str | None):
        tensors = llama()
        tensors["model.layers.3.post_attention_layernorm.weight"] = torch.full((WIDTH,), times)
        for layer in (0, 1, 2, 4):
            tensors[f"model.layers.{layer}.post_attention_layernorm.weight"] = torch.ones(WIDTH)
        outcome = check(tmp_path, "norms", tensors)
        sites = {finding.site for finding in outcome.findings}
        assert sites == ({"model.layers.3.post_attention_layernorm.weight"} if found else set())
        assert not found or said(outcome)[0].startswith(found)
        assert outcome.overall["level_off"] == pytest.approx(max(times, 1 / times))

    def test_the_last_norm_has_no_other_layers_to_tell_its_level(self, tmp_path):
        tensors = llama() | {"model.norm.weight": torch.full((WIDTH,), 1e-6)}
        found = check(tmp_path, "norms", tensors)
        assert said(found) == ["warn its median is 1e-06 (< 0.0001)"]
        assert found.overall["smallest_level"] == pytest.approx(1e-6)

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    @pytest.mark.parametrize(
        "name", ["model.layers.1.input_layernorm.bias", "model.layers.2.self_attn.k_norm.weight", "model.norm.weight"]
    )
    def test_norms_of_keys_and_biases_are_read_too(self, tmp_path, name: str, value: float):
        tensors = llama()
        shape = CHANNELS if "k_norm" in name else WIDTH
        tensors[name] = torch.ones(shape).index_fill(0, torch.tensor([2]), value)
        assert said(check(tmp_path, "norms", tensors)) == ["fail a norm weight holds NaN or infinity"]

    def test_outlier_channels_of_queries_and_keys_are_usual(self, tmp_path):
        tensors = llama()
        for layer in range(LAYERS):
            tensors[f"model.layers.{layer}.self_attn.q_norm.weight"] = torch.ones(CHANNELS).index_fill(
                0, torch.tensor([0]), 600.0
            )
        assert said(check(tmp_path, "norms", tensors)) == []
        tensors["model.layers.1.self_attn.q_norm.weight"] = torch.full((CHANNELS,), 1e-6)
        assert [f.site for f in check(tmp_path / "small", "norms", tensors).findings] == [
            "model.layers.1.self_attn.q_norm.weight"
        ]

    def test_weights_of_another_type_are_said_to_be_skipped(self, tmp_path):
        tensors = llama()
        tensors["model.layers.1.input_layernorm.weight"] = torch.ones(WIDTH).to(torch.float8_e4m3fn)
        found = check(tmp_path, "norms", tensors)
        assert found.skipped == ("1 norm weights stored as F8_E4M3 (first: model.layers.1.input_layernorm.weight)",)

    def test_towers_beside_a_gemma_apply_their_weights_as_they_are(self, tmp_path):
        tensors = {name: t - 1 if "norm" in name else t for name, t in llama().items()}
        tensors["vision_tower.encoder.layers.0.layer_norm1.weight"] = torch.zeros(WIDTH)
        found = check(tmp_path, "norms", tensors, {"model_type": "gemma3"})
        assert {finding.site for finding in found.findings} == {"vision_tower.encoder.layers.0.layer_norm1.weight"}

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

    def test_blocks_whose_writers_are_not_read_are_said(self, tmp_path):
        tensors = llama()
        del tensors["model.layers.1.mlp.down_proj.weight"]
        name = "model.layers.2.self_attn.o_proj.weight"
        tensors[name] = tensors[name].to(torch.float8_e4m3fn)
        assert check(tmp_path, "writers", tensors).skipped == (
            "1 of 5 blocks without attention output under a known name, or stored as F8_E4M3; experts are left out "
            "(first: model.layers.2)",
            "1 of 5 blocks without feed-forward output under a known name; experts are left out "
            "(first: model.layers.1)",
        )
        assert check(tmp_path / "whole", "writers", llama()).skipped == ()


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
