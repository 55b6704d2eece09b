"""Each architecture of the list that is called plain, built from `transformers`, and those that are not plain."""

from typing import Any

import pytest
import torch
from packages.tiny_transformers import Names, as_checkpoint, build, config_of, silence, streams_through

from mhcdiag.errors import LayoutError
from mhcdiag.layouts import recognise
from mhcdiag.layouts.interface import Overrides
from mhcdiag.layouts.plain_families import GGUF, POST_NORM, TESTED

transformers = pytest.importorskip("transformers")

SAMPLE = (
    "bamba", "beit", "bloom", "clip_vision_model", "cohere", "deepseek_v3", "dinov2", "exaone4", "falcon", "gemma2",
    "gemma3_text", "gpt2", "gpt_neox", "granite", "llama", "mamba2", "minicpm3", "mixtral", "nanochat", "olmo2", "opt",
    "phi", "qwen3_5_text", "t5", "vit", "whisper",
)  # fmt: skip
"""Parallel branches, norms before, behind and around branches, factors on branches, states, experts, two stacks."""


def known(model_type: str) -> str:
    """The name again, where the installed version has that family."""
    if model_type not in transformers.CONFIG_MAPPING:
        pytest.skip(f"transformers {transformers.__version__} has no {model_type}")
    return model_type


@pytest.mark.parametrize("model_type", sorted(TESTED - {"mhcdiag-toy", "mllama_text_model"}))
def test_every_architecture_of_the_list_is_called_plain(model_type: str):
    checkpoint = as_checkpoint(build(config_of(known(model_type)), device="meta"))
    layout, recognition = recognise(checkpoint)
    assert layout.name == "plain"
    assert len(recognition.sites) >= 4
    assert recognition.assumed == ()
    (note,) = layout.read(checkpoint, recognition, Overrides(), dynamic=True).notes
    assert note.endswith(f"(by model_type {checkpoint.config['model_type']})")


@pytest.mark.parametrize("model_type", sorted(SAMPLE))
def test_the_stream_leaves_silent_blocks_as_it_entered_them(model_type: str):
    assert model_type in TESTED
    model = build(config_of(known(model_type)))
    silence(model)
    streams = streams_through(model)
    assert streams
    for of_stack in streams.values():
        for given, left in (*of_stack, (of_stack[0][0], of_stack[-1][1])):
            assert float(given.abs().max()) > 0.01
            torch.testing.assert_close(left, given, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("model_type", ["bert", "bart", "minimax", "dory", "deberta-v2", "xlnet", "openai-gpt"])
def test_norms_on_the_stream_are_named(model_type: str):
    """Silent blocks give the same for a stream of any size: the norm sets it anew."""
    model = build(config_of(known(model_type)))
    assert refused_as(as_checkpoint(model)).startswith("post-norm: no fixed composite: every site ends in a norm")
    assert f"model_type {model_type}" in refused_as(as_checkpoint(model))
    silence(model)
    given, left = next(iter(streams_through(model).values()))[-1]
    assert float((left - given).abs().max()) > 0.05
    assert model_type in POST_NORM


@pytest.mark.parametrize(
    ("model_type", "flag", "value"),
    [("opt", "do_layer_norm_before", False), ("bloom", "apply_residual_connection_post_layernorm", True)],
)
def test_a_flag_that_moves_the_norm_onto_the_stream_is_seen(model_type: str, flag: str, value: bool):
    model = build(config_of(known(model_type), **{flag: value}))
    assert f"({flag} = {value})" in refused_as(as_checkpoint(model))
    silence(model)
    given, left = next(iter(streams_through(model).values()))[-1]
    assert float((left - given).abs().max()) > 0.05


def test_falcon_does_not_read_the_flag_that_it_has():
    flags = {"apply_residual_connection_post_layernorm": True, "parallel_attn": False}
    model = build(config_of("falcon", **flags, new_decoder_architecture=False))
    assert recognise(as_checkpoint(model))[0].name == "plain"
    silence(model)
    for given, left in streams_through(model)["transformer.h"]:
        torch.testing.assert_close(left, given)


@pytest.mark.parametrize("model_type", ["inkling2_text"])
def test_attention_over_earlier_blocks_is_named(model_type: str):
    why = refused_as(as_checkpoint(build(config_of(known(model_type)), device="meta")))
    assert why.startswith("cross-layer: no fixed composite: each site reads a softmax mix over earlier blocks")
    assert "attention_input.query" in why


@pytest.mark.parametrize(
    "name",
    [
        "layers.2.res_scale",
        "layers.0.self_attn.mixing",
        "layers.1.input_layernorm.gate",
        "alphas",
        "layers.3.alpha",
    ],
)
def test_one_tensor_that_nothing_explains_takes_the_proof_away(name: str):
    model = build(config_of("llama"), device="meta")
    checkpoint = as_checkpoint(model, **{f"model__{name.replace('.', '__')}": (1,)})
    with pytest.raises(
        LayoutError, match="no proof of gain 1: nothing explains what these do to the stream"
    ) as refused:
        recognise(checkpoint)
    assert f"model.{name} [1]" in str(refused.value)
    layout, recognition = recognise(checkpoint, assume="plain")
    assert layout.name == "plain"
    assert (
        f"--assume plain), although nothing explains what these do to the stream: model.{name}"
        in recognition.assumed[0]
    )


def test_a_matrix_under_the_name_of_a_norm_is_no_norm():
    model = build(config_of("llama"), device="meta")
    with pytest.raises(LayoutError, match=r"model\.layers\.1\.mix_norm\.weight \[4, 4\]"):
        recognise(as_checkpoint(model, model__layers__1__mix_norm__weight=(4, 4)))


def test_an_unknown_architecture_needs_names_of_a_known_family():
    model = build(config_of("llama"), device="meta")
    checkpoint = as_checkpoint(model)
    checkpoint.config = {"model_type": "something_new"}
    layout, recognition = recognise(checkpoint)
    assert "the names of Llama" in layout.read(checkpoint, recognition, Overrides(), dynamic=False).notes[0]
    checkpoint = as_checkpoint(model, **{f"model__layers__{i}__mlp__gate__weight": (4, 32) for i in range(4)})
    checkpoint.config = {"model_type": "something_new"}
    with pytest.raises(
        LayoutError, match="model_type 'something_new' is not known to keep an ordinary residual stream, and the names"
    ):
        recognise(checkpoint)


@pytest.mark.parametrize("where", ["top", "text_config"])
def test_a_configuration_that_speaks_of_the_residual_takes_the_proof_away(where: str):
    checkpoint = as_checkpoint(build(config_of("llama"), device="meta"))
    key: dict[str, Any] = {"residual_alpha": 0.7}
    checkpoint.config = checkpoint.config | (key if where == "top" else {"text_config": key})
    with pytest.raises(LayoutError, match=r"nothing explains the configuration's residual_alpha = 0\.7"):
        recognise(checkpoint)
    checkpoint.config = checkpoint.config | {"residual_alpha": 1.0, "text_config": {}}
    assert recognise(checkpoint)[0].name == "plain"


def test_every_architecture_of_llama_cpp_is_one_of_the_list():
    assert set(GGUF.values()) <= TESTED
    assert not TESTED & POST_NORM


def test_towers_beside_a_language_model_are_left_out_and_said():
    checkpoint = as_checkpoint(build(config_of("llava"), device="meta"))
    _, recognition = recognise(checkpoint)
    assert {site.name.rpartition(".")[0] for site in recognition.sites} == {"language_model.layers"}
    assert any("vision_tower" in name for name in recognition.excluded)


def refused_as(checkpoint: Names) -> str:
    """Why a recognised model has no gain."""
    layout, recognition = recognise(checkpoint)
    reading = layout.read(checkpoint, recognition, Overrides(), dynamic=True)
    with pytest.raises(LayoutError) as refused:
        reading.maps("static", tokens=1, seed=0)
    assert "no gain was measured" in str(refused.value)
    assert not reading.composes
    return refused.value.found
