"""Checkpoints that could be read in two ways: told apart, or refused with both names, never guessed silently."""

import numpy as np
import pytest
import torch
from layouts.alpha_families import coefficient_model, mhc_lite_mhc
from layouts.fused_families import gguf, megatron, nanowhale, openpangu
from layouts.reference_model import STREAMS, Model
from layouts.separate_families import mhc_pytorch
from stacks import write

import mhcdiag
from mhcdiag.errors import LayoutError, SettingError
from mhcdiag.policies.verdicts import judge_gain


def saved(tmp_path, model: Model, **changes: torch.Tensor):
    tensors = {name: torch.tensor(value, dtype=torch.float32).contiguous() for name, value in model.tensors.items()}
    return write(tmp_path, tensors | changes, config=model.config)


def test_nanowhale_and_deepseek_v4_differ_by_the_spelling_of_the_head(tmp_path):
    model = nanowhale()
    own = mhcdiag.gain(saved(tmp_path / "own", model), inputs="static")
    head = model.tensors.pop("model.hc_head_fn")
    model.tensors["model.hc_head.hc_fn"] = head  # as transformers writes it
    other = mhcdiag.gain(saved(tmp_path / "other", model), inputs="static")
    assert (own.layout, other.layout) == ("nanowhale", "deepseek-v4")
    assert own.curve("single", "forward", "norm") == pytest.approx(other.curve("single", "backward", "norm"), rel=1e-9)
    assert any("comb is applied as it is" in said for said in own.assumed)


def test_nanowhale_without_a_head_is_known_by_its_sizes(tmp_path):
    model = nanowhale()
    del model.tensors["model.hc_head_fn"]
    layer_zero = {name: value for name, value in model.tensors.items() if ".0." in name}
    for layer in range(8):
        for name, value in layer_zero.items():
            wide = torch.zeros(15, 960) if name.endswith("_fn") else value
            model.tensors[name.replace(".0.", f".{layer}.")] = wide
    model.config = {"model_type": "deepseek_v4", "hidden_size": 320, "num_hidden_layers": 8, "hc_sinkhorn_iters": 2}
    tensors = {name: torch.as_tensor(value, dtype=torch.float32) for name, value in model.tensors.items()}
    assert mhcdiag.gain(write(tmp_path, tensors, config=model.config), inputs="static").layout == "nanowhale"


@pytest.mark.parametrize(
    ("config", "side", "why"),
    [
        ({"enable_hyper_connections": True}, "target-rows", "the configuration has enable_hyper_connections"),
        ({"mhc_num_residual_streams": 3}, "source-rows", "the configuration has mhc_num_residual_streams"),
        ({}, "target-rows", "no configuration says otherwise"),
    ],
)
def test_megatron_says_that_it_cannot_know(tmp_path, config: dict, side: str, why: str):
    path = saved(tmp_path, megatron(config, dev=side == "source-rows"))
    said = [line for line in mhcdiag.gain(path, inputs="static").assumed if "cannot be known" in line]
    assert len(said) == 1
    assert "say --orientation" in said[0]
    assert f"Assumed: {side}" in said[0]
    assert why in said[0]
    told = mhcdiag.gain(path, inputs="static", orientation=side)
    assert not [line for line in told.assumed if "cannot be known" in line]


def matrix_logits(**changes) -> Model:
    """The tensors that mhc-lite's mHC and TBP share, with some roles replaced: a value in all of it, or a change."""
    model = mhc_lite_mhc(None)
    for name, value in model.tensors.items():
        change = changes.get(name.rpartition(".")[2])
        if change is not None:
            model.tensors[name] = change(value.copy()) if callable(change) else np.full_like(value, change)
    return model


def inner_static(value):
    """Residual logits as TBP trains them: the last row and column stay at zero."""
    value[-1, 1:] = value[:, -1] = 0
    return value


def inner_dynamic(value):
    entries = value.reshape(-1, STREAMS, 1 + STREAMS)
    entries[:, -1, 1:] = entries[:, :, -1] = 0
    return value


@pytest.mark.parametrize(
    ("changes", "layout"),
    [
        ({}, "mhc-lite-mhc"),
        ({"static_alpha": inner_static}, "tbp-mhc"),
        ({"static_alpha": inner_static, "dynamic_alpha_fn": inner_dynamic}, "tbp-mhc"),
        ({"static_alpha": 0, "dynamic_alpha_fn": inner_dynamic}, "tbp-mhc"),
        ({"static_alpha": 0}, "mhc-lite-mhc"),
    ],
)
def test_values_tell_mhc_lites_mhc_from_tbp(tmp_path, changes, layout: str):
    assert mhcdiag.gain(saved(tmp_path, matrix_logits(**changes)), inputs="static").layout == layout


@pytest.mark.parametrize("place", [(STREAMS - 1, 1), (0, STREAMS)])
def test_one_value_in_the_last_row_or_column_of_one_site_is_mhc(tmp_path, place):
    model = matrix_logits(static_alpha=inner_static)
    next(reversed([value for name, value in model.tensors.items() if name.endswith("static_alpha")]))[place] = 1e-8
    assert mhcdiag.gain(saved(tmp_path, model), inputs="static").layout == "mhc-lite-mhc"


def test_mhc_lites_mhc_and_tbp_both_fit_where_no_value_tells(tmp_path):
    path = saved(tmp_path, matrix_logits(static_alpha=0, dynamic_alpha_fn=0))
    with pytest.raises(LayoutError, match="layouts mhc-lite-mhc and tbp-mhc both fit") as refused:
        mhcdiag.gain(path)
    uniform, chart = (
        mhcdiag.gain(path, layout=layout, inputs="static").curve("prefix", "forward", "norm")[-1]
        for layout in ("mhc-lite-mhc", "tbp-mhc")
    )
    assert f"{uniform:.4g} / 1 as mhc-lite-mhc, {chart:.4g} / 1 as tbp-mhc" in str(refused.value)
    assert "choose one by --layout" in str(refused.value)


def test_a_layout_that_values_rule_out_is_refused(tmp_path):
    with pytest.raises(
        LayoutError, match="tensors of layout mhc-lite-mhc; expected one of tbp-mhc; leave out --layout"
    ):
        mhcdiag.gain(saved(tmp_path, matrix_logits()), layout="tbp-mhc")


def test_two_coefficients_per_pair_and_two_permutations_are_the_same_for_two_streams(tmp_path):
    result = mhcdiag.gain(saved(tmp_path, coefficient_model("mhc-lite", streams=2)), inputs="static")
    assert result.layout == "mhc-lite"


def test_a_gguf_file_of_another_architecture_is_refused_by_name(tmp_path):
    model = gguf()
    model.config["general.architecture"] = "xing4"
    with pytest.raises(LayoutError, match="architecture 'xing4' with DeepSeek-V4's tensor names; expected deepseek4"):
        mhcdiag.gain(saved(tmp_path, model))


def test_streams_that_end_in_each_layer_are_measured_and_not_judged(tmp_path):
    result = mhcdiag.gain(saved(tmp_path, mhc_pytorch()), sinkhorn_iters=1)
    judged = judge_gain(result, max_gain=0.0)
    assert not result.composes
    assert (judged.verdict, judged.limits) == ("unjudged", ())
    assert "composes: false" in judged.reason
    assert any("makes its streams inside every layer" in note for note in result.notes)


def test_a_norm_after_the_block_is_noted(tmp_path):
    model = openpangu()
    assert not mhcdiag.gain(saved(tmp_path / "without", model), inputs="static").notes[:-1]
    model.config["block_post_layernorm_idx"] = [1]
    notes = mhcdiag.gain(saved(tmp_path / "with", model), inputs="static").notes
    assert any("block_post_layernorm" in note for note in notes)


@pytest.mark.parametrize("role", ["phi.weight", "branch_alpha", "branch_beta"])
def test_a_missing_tensor_is_named(tmp_path, role: str):
    model = openpangu()
    del model.tensors[f"model.layers.1.mlp_mhc_module.{role}"]
    missing = role.removesuffix(".weight")
    with pytest.raises(LayoutError, match=rf"layer 1 has .*mlp_mhc_module.* but no {missing} beside it"):
        mhcdiag.gain(saved(tmp_path, model))


@pytest.mark.parametrize(
    ("role", "shape", "expected"),
    [
        ("branch_alpha", (2,), r"\[2\]; expected \[3\]"),
        ("branch_beta", (8,), r"\[8\]; expected the shape of 3 streams"),
        ("phi.weight", (15, 16), r"\[15, 16\]; expected \[15, 15\]"),
        ("norm_gamma", (12,), r"\[12\]; expected \[21\]"),
    ],
)
def test_a_wrong_shape_is_named_with_the_right_one(tmp_path, role: str, shape: tuple[int, ...], expected: str):
    path = saved(tmp_path, openpangu(), **{f"model.layers.1.mlp_mhc_module.{role}": torch.zeros(shape)})
    with pytest.raises(LayoutError, match=rf"mlp_mhc_module\.{role} has shape {expected}"):
        mhcdiag.gain(path)


def test_settings_of_another_family_are_refused(tmp_path):
    path = saved(tmp_path, coefficient_model("mhc-lite", streams=3))
    with pytest.raises(SettingError, match="--sinkhorn-iters means nothing for layout mhc-lite"):
        mhcdiag.gain(path, sinkhorn_iters=3)
