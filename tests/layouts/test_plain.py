"""When an ordinary residual model is called plain, and what is refused: containers of others, disguises, leftovers."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from stacks import write

import mhcdiag
from mhcdiag.cli.main import run
from mhcdiag.errors import LayoutError, SettingError

LAYERS, WIDTH = 3, 64
CONFIG = {"model_type": "llama", "hidden_size": WIDTH, "num_hidden_layers": LAYERS}
Shapes = Mapping[str, tuple[int, ...]]


def blocks(stack: str, names: Iterable[str], *, vectors: str = "norm") -> dict[str, tuple[int, ...]]:
    """A vector for each name that holds one of the words, a matrix for the others, in every block."""
    words = vectors.split()
    return {
        f"{stack}.{layer}.{name}": (WIDTH,) if any(word in name for word in words) else (WIDTH, WIDTH)
        for layer in range(LAYERS)
        for name in names
    }


LLAMA = blocks(
    "model.layers",
    [f"self_attn.{name}_proj.weight" for name in "qkvo"]
    + [f"mlp.{name}_proj.weight" for name in ("gate", "up", "down")]
    + ["input_layernorm.weight", "post_attention_layernorm.weight"],
) | {"model.embed_tokens.weight": (9, WIDTH), "model.norm.weight": (WIDTH,), "lm_head.weight": (9, WIDTH)}
BERT = blocks(
    "encoder.layer",
    ["attention.self.query.weight", "attention.output.dense.weight", "attention.output.LayerNorm.weight",
     "intermediate.dense.weight", "output.dense.weight", "output.LayerNorm.weight"],
    vectors="Norm",
)  # fmt: skip
ADAPTERS = {
    f"base_model.model.model.layers.{layer}.self_attn.{name}_proj.lora_{side}.weight": (4, WIDTH)
    for layer in range(LAYERS)
    for name in "qv"
    for side in "AB"
}


def each(name: str, *shape: int) -> dict[str, tuple[int, ...]]:
    """A tensor in every block of the Llama."""
    return {f"model.layers.{layer}.{name}": shape for layer in range(LAYERS)}


def renamed(old: str, new: str) -> dict[str, tuple[int, ...]]:
    return {name.replace(old, new): shape for name, shape in LLAMA.items()}


def save(path: Path, shapes: Shapes, config: Mapping[str, Any] | None = None) -> Path:
    return write(path, {name: torch.zeros(shape) for name, shape in shapes.items()}, config=config)


PLAIN: dict[str, tuple[Shapes, Mapping[str, Any] | None]] = {
    "Llama": (LLAMA, CONFIG),
    "Llama without a configuration": (LLAMA, None),
    "of llama.cpp": (
        blocks(
            "blk",
            ["attn_norm.weight", "attn_q.weight", "attn_k.weight", "attn_v.weight", "attn_output.weight",
             "ffn_norm.weight", "ffn_gate.weight", "ffn_up.weight", "ffn_down.weight"],
        ) | {"token_embd.weight": (9, WIDTH), "output_norm.weight": (WIDTH,), "rope_freqs.weight": (4,)},
        {"general.architecture": "llama"},
    ),
    "Meta's names": (
        blocks(
            "layers",
            [f"attention.w{name}.weight" for name in "qkvo"] + [f"feed_forward.w{i}.weight" for i in (1, 2, 3)]
            + ["attention_norm.weight", "ffn_norm.weight"],
        ) | {"tok_embeddings.weight": (9, WIDTH), "norm.weight": (WIDTH,), "rope.freqs": (4,)},
        None,
    ),
    "nanoGPT, compiled": (
        blocks(
            "_orig_mod.transformer.h",
            ["ln_1.weight", "attn.c_attn.weight", "attn.c_attn.bias", "attn.c_proj.weight", "ln_2.weight",
             "mlp.c_fc.weight", "mlp.c_proj.weight"],
            vectors="ln_ bias",
        ) | {"_orig_mod.transformer.wte.weight": (9, WIDTH), "_orig_mod.transformer.ln_f.weight": (WIDTH,)},
        None,
    ),
    "litgpt": (
        blocks(
            "transformer.h",
            ["norm_1.weight", "attn.qkv.weight", "attn.proj.weight", "norm_2.weight", "mlp.fc_1.weight",
             "mlp.fc_2.weight", "mlp.proj.weight"],
        ) | {"lm_head.weight": (9, WIDTH)},
        None,
    ),
    "Megatron-LM, switched off": (
        blocks(
            "decoder.layers",
            ["self_attention.linear_qkv.weight", "self_attention.linear_qkv.layer_norm_weight",
             "self_attention.linear_proj.weight", "mlp.linear_fc1.weight", "mlp.linear_fc1.layer_norm_weight",
             "mlp.linear_fc2.weight"],
        ) | {"embedding.word_embeddings.weight": (9, WIDTH), "decoder.final_layernorm.weight": (WIDTH,)},
        {"enable_mhc_connections": False, "mhc_num_residual_streams": 4, "mhc_sinkhorn_iterations": 20},
    ),
    "timm with LayerScale on its branches": (
        blocks(
            "blocks",
            ["norm1.weight", "norm1.bias", "attn.qkv.weight", "attn.qkv.bias", "attn.proj.weight", "norm2.weight",
             "mlp.fc1.weight", "mlp.fc2.weight", "ls1.gamma", "ls2.gamma"],
            vectors="norm bias ls1 ls2",
        ) | {"patch_embed.proj.weight": (8, 3, 4, 4), "cls_token": (1, 1, WIDTH), "pos_embed": (1, 5, WIDTH)},
        None,
    ),
    "x-transformers": (
        {
            f"attn_layers.layers.{index}.{name}": shape
            for index in range(4)
            for name, shape in (
                {"0.0.gamma": (WIDTH,)}
                | ({"1.ff.0.0.weight": (WIDTH, WIDTH), "1.ff.2.bias": (WIDTH,)} if index % 2 else
                   {f"1.to_{part}.weight": (WIDTH, WIDTH) for part in ("q", "k", "v", "out")})
            ).items()
        },
        None,
    ),
    "GPTQ": (renamed("_proj.weight", "_proj.qweight") | each("self_attn.q_proj.qzeros", 2, 2)
             | each("self_attn.q_proj.scales", 2, 64) | each("self_attn.q_proj.g_idx", 64), CONFIG),
    "bitsandbytes": (LLAMA | each("mlp.up_proj.weight.absmax", 64) | each("mlp.up_proj.weight.quant_map", 16)
                     | each("mlp.up_proj.weight.quant_state.bitsandbytes__nf4", 80), CONFIG),
    "FP8": (LLAMA | each("mlp.up_proj.weight_scale_inv", 1, 1) | each("self_attn.k_scale", 1), CONFIG),
    "compressed-tensors": (renamed("_proj.weight", "_proj.weight_packed") | each("mlp.up_proj.weight_shape", 2)
                           | each("mlp.up_proj.weight_zero_point", 2, 2), CONFIG),
    "buffers of rotary positions": (LLAMA | each("self_attn.rotary_emb.inv_freq", 8), CONFIG),
    "low-rank adapters with their model": (
        {f"base_model.model.{name.replace('q_proj.', 'q_proj.base_layer.')}": s for name, s in LLAMA.items()}
        | {f"base_model.model.model.layers.{i}.self_attn.q_proj.lora_{ab}.default.weight": (4, 64)
           for i in range(LAYERS) for ab in "AB"}, CONFIG),
    "a block that predicts further tokens": (
        LLAMA | {"model.layers.3.eh_proj.weight": (8, 8), "model.layers.3.enorm.weight": (8,)}, CONFIG),
    "an image tower beside it": (
        {name.replace("model.", "language_model.model.", 1): shape for name, shape in LLAMA.items()}
        | {"vision_tower.blocks.0.what.ever": (3,), "multi_modal_projector.linear_1.weight": (8, 8)},
        {"model_type": "some_vlm", "text_config": CONFIG}),
}  # fmt: skip


@pytest.mark.parametrize("case", PLAIN)
def test_ordinary_models_are_plain_without_an_assumption(tmp_path, case: str):
    result = mhcdiag.gain(save(tmp_path, *PLAIN[case]))
    assert (result.layout, result.assumed, result.streams) == ("plain", (), 1)
    assert len(result.sites) == (4 if case == "x-transformers" else LAYERS)
    assert result.worst["forward", "norm"].value == result.bound["backward"].worst == 1.0
    assert any("(by model_type " in note or "(by the names of " in note for note in result.notes)


REFUSED: dict[str, tuple[Shapes, Mapping[str, Any] | None, str]] = {
    "a scale at the block": (LLAMA | each("res_scale", 1), CONFIG, r"model\.layers\.N\.res_scale \[1\] \(3 of them\)"),
    "mixers under another name": (LLAMA | each("attn_conn.fn", 24, 256), CONFIG, r"attn_conn\.fn \[24, 256\]"),
    "mixers under a name of the attention": (LLAMA | each("self_attn.gate.weight", 4, 5), CONFIG,
                                             r"self_attn\.gate\.weight \[4, 5\]"),
    "coefficients in the attention": (LLAMA | each("self_attn.alpha", 4, 5), CONFIG, r"self_attn\.alpha \[4, 5\]"),
    "a vector under the name of a branch": (LLAMA | each("output.weight", 4), CONFIG, r"output\.weight \[4\]"),
    "a matrix under the name of a norm": (LLAMA | each("mix_norm.weight", 24, 256), CONFIG, r"mix_norm\.weight"),
    "a parameter of a norm that norms lack": (LLAMA | each("input_layernorm.alpha", 1), CONFIG, r"input_layernorm"),
    "a list of its own": (LLAMA | {f"model.mixers.{i}.weight": (4, 4) for i in range(LAYERS)}, CONFIG,
                          r"model\.mixers\.N\.weight \[4, 4\]"),
    "a table of all layers": (LLAMA | {"model.depth_weights": (4, 5)}, CONFIG, r"model\.depth_weights \[4, 5\]"),
    "blocks of a part that is not known": (LLAMA | blocks("model.mixing.layers", ["mlp.fc1.weight"]), CONFIG,
                                           r"model\.mixing\.layers\.N\.mlp\.fc1\.weight"),
    "an unknown family": (each("foo.weight", 8, 8), {"model_type": "foo"}, "model_type 'foo' is not known to keep"),
    "unknown names": (each("foo.weight", 8, 8), None, "no model_type, and the names are not those of one known family"),
    "torch's encoder, whose order of norms is not stored": (
        blocks("layers", ["self_attn.in_proj_weight", "self_attn.out_proj.weight", "linear1.weight", "linear2.weight",
                          "norm1.weight", "norm2.weight"]), None, "the names are not those of one known family"),
    "adapters alone": (ADAPTERS, None, "these are low-rank adapters"),
    "adapters alone, and a configuration": (ADAPTERS, CONFIG, "these are low-rank adapters"),
    "the state of an optimiser": ({f"state.{i}.exp_avg": (4, 4) for i in range(3)}, None, "no blocks of a model"),
    "an optimiser with names": (blocks("optimizer.exp_avg.model.layers", ["mlp.fc1.weight"]), None, "no proof of gain"),
    "an embedding": ({"embed_tokens.weight": (9, 4)}, CONFIG, r"no blocks of a model that is known among 1 tensors"),
    "a ResNet": ({f"layer{i}.0.conv1.weight": (4, 4, 3, 3) for i in (1, 2)}, None, "no blocks of a model"),
    "a U-Net": ({f"{way}_blocks.{i}.resnets.0.conv1.weight": (4, 4, 3, 3) for way in ("up", "down") for i in range(2)},
                None, r"cross-layer: no fixed composite: .*U-net skips"),
    "BERT's names": (BERT, None, r"post-norm: no fixed composite: .*\(the names of BERT\)"),
    "BERT's names beside the configuration of another": (BERT, CONFIG, r"post-norm: .*the names of BERT"),
    "a BERT of llama.cpp": (blocks("blk", ["attn_q.weight", "layer_output_norm.weight"]),
                            {"general.architecture": "bert"}, r"post-norm: .*model_type bert"),
    "DeepNorm": (LLAMA, CONFIG | {"deepnorm": True}, r"post-norm: .*deepnorm = True"),
    "a factor in the configuration": (LLAMA, CONFIG | {"residual_alpha": 0.5}, "configuration's residual_alpha = 0.5"),
    "mixing in the configuration": (LLAMA, CONFIG | {"hc_mult": 4}, "config key hc_mult"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_everything_else_is_refused_by_name(tmp_path, case: str):
    shapes, config, why = REFUSED[case]
    path = save(tmp_path, shapes, config)
    with pytest.raises(LayoutError, match=why):
        mhcdiag.gain(path)
    assert run(["gain", str(path), "--quiet"]) == 2


@pytest.mark.parametrize(
    ("model", "name"),
    [("xlm", "transformer.attentions.{}.q_lin.weight"), ("albert", "groups.0.albert_layers.{}.ffn.weight")],
)
def test_norms_on_the_stream_are_named_whatever_the_blocks_are_called(tmp_path, model: str, name: str):
    shapes = {name.format(layer): (4, 4) for layer in range(LAYERS)}
    path = save(tmp_path, shapes, {"model_type": model})
    assert mhcdiag.inspect(path).layout == "post-norm"
    assert mhcdiag.inspect(path).sites
    assert mhcdiag.health(path).layout == "post-norm"


def test_a_u_net_beside_a_language_model_is_no_part_of_it(tmp_path):
    shapes = LLAMA | {f"vision_tokenizer.up_blocks.{i}.conv.weight": (4, 4, 3, 3) for i in range(2)}
    result = mhcdiag.gain(save(tmp_path, shapes, CONFIG))
    assert result.layout == "plain"
    assert len(result.excluded) == 2


def test_an_assumption_is_recorded_and_strict_does_not_take_it(tmp_path, capsys):
    path = save(tmp_path, LLAMA | each("res_scale", 1), CONFIG)
    assert run(["gain", str(path)]) == 2
    assert "res_scale [1] (3 of them); expected" in capsys.readouterr().err
    assert run(["gain", str(path), "--assume", "plain"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "assumed: an ordinary residual stream (--assume plain), although nothing explains what these do" in out
    assert "its gain would be 1" in out
    assert "by construction" not in out
    assert run(["gain", str(path), "--assume", "plain", "--strict", "--quiet"]) == 2
    assert run(["health", str(path), "--assume", "plain", "--quiet"]) == 0
    assert run(["inspect", str(path)]) == 2
    assert run(["inspect", str(path), "--assume", "plain"]) == 0


def test_an_assumption_names_what_looks_like_a_mixer(tmp_path):
    path = save(tmp_path, LLAMA | each("my_h_res", 4, 4), CONFIG)
    (said,) = mhcdiag.gain(path, assume="plain").assumed
    assert "what looks like a mixer is left aside: model.layers.0.my_h_res, model.layers.1.my_h_res" in said


@pytest.mark.parametrize("case", ["BERT's names", "a U-Net"])
def test_nothing_is_assumed_against_what_is_known(tmp_path, case: str):
    shapes, config, _ = REFUSED[case]
    with pytest.raises((SettingError, LayoutError), match=r"--assume plain: .* is of layout|no fixed composite"):
        mhcdiag.gain(save(tmp_path, shapes, config), assume="plain")


def test_only_plain_can_be_assumed(tmp_path):
    with pytest.raises(SettingError, match="assume 'identity': expected one of plain"):
        mhcdiag.gain(save(tmp_path, LLAMA, CONFIG), assume="identity")


def test_health_examines_the_weights_of_models_without_a_composite(tmp_path):
    result = mhcdiag.health(save(tmp_path, BERT, {"model_type": "bert"}))
    assert result.layout == "post-norm"
    assert any("no fixed composite" in note for note in result.notes)
    assert "norms" in {check.name for check in result.checks if not check.not_checkable}
    found = mhcdiag.inspect(tmp_path)
    assert found.mixing == "norms on the stream: no fixed composite; unjudged (exit 2)"
