"""x-transformers' hyper-connections: what `HyperConnection.prepare` computes, in NumPy, now and before 2.14.0."""

import re

import numpy as np
import pytest
import torch
from layouts.alpha_families import bytedance
from reference import disagreements, reference
from stacks import write

import mhcdiag
from mhcdiag.errors import LayoutError, SettingError
from mhcdiag.policies.verdicts import judge_gain

STREAMS, WIDTH, SUBLAYERS = 4, 8, 6


def tensors(*, views: int = 1, prefix: str = "attn_layers.", sublayers: int = SUBLAYERS) -> dict[str, torch.Tensor]:
    """A decoder as `TransformerWrapper.state_dict()` names it: attention at even numbers, feed-forward at odd ones."""
    generator = torch.Generator().manual_seed(5)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator) * 3

    found = {"token_emb.emb.weight": random(9, WIDTH), f"{prefix}stream_emb": random(STREAMS, WIDTH)}
    for index in range(sublayers):
        path = f"{prefix}layers.{index}."
        branch = "1.ff.0.0.weight" if index % 2 else "1.to_q.weight"
        found |= {
            f"{path}0.0.gamma": random(WIDTH),
            path + branch: random(WIDTH, WIDTH),
            f"{path}2.static_alpha": random(STREAMS, views + STREAMS),
            f"{path}2.static_beta": random(STREAMS),
            f"{path}2.dynamic_alpha_fn": random(WIDTH, views + STREAMS),
            f"{path}2.dynamic_alpha_scale": random(),
            f"{path}2.dynamic_beta_fn": random(WIDTH),
            f"{path}2.dynamic_beta_scale": random(),
            f"{path}2.norm.weight": random(WIDTH),
        }
    return found


def mixed(alpha: np.ndarray, x: np.ndarray, iterations: int) -> np.ndarray:
    """The new streams [n, d] of residual logits [n, n], as the package computes them: one row is one view [1, n]."""
    view = alpha.reshape(STREAMS, 1, STREAMS)
    view = np.exp(view - view.max(axis=-2, keepdims=True))
    view /= view.sum(axis=-2, keepdims=True)
    for _ in range(iterations):
        view = view / np.abs(view).sum(axis=-1, keepdims=True)
        view = view / np.abs(view).sum(axis=-2, keepdims=True)
    return np.einsum("st,sd->td", view.reshape(STREAMS, STREAMS), x)


@pytest.mark.parametrize("iterations", [0, 1, 5])
@pytest.mark.parametrize("views", [1, 3])
def test_every_entry_is_one_whatever_the_weights(tmp_path, views: int, iterations: int):
    stored = tensors(views=views)
    maps = []
    for index in range(SUBLAYERS):
        static = stored[f"attn_layers.layers.{index}.2.static_alpha"].double().numpy()[:, views:]
        maps.append(mixed(static, np.eye(STREAMS), iterations)[None])
    result = mhcdiag.gain(write(tmp_path, stored))
    assert disagreements(result, reference(np.stack(maps)), relative=1e-12) == []
    assert result.worst["forward", "norm"].value == STREAMS**SUBLAYERS == result.bound["backward"].worst
    assert result.sites == ("0.attn", "1.ffn", "2.attn", "3.ffn", "4.attn", "5.ffn")
    assert judge_gain(result).verdict == "fail"


def test_the_defect_and_the_version_are_said(tmp_path):
    result = mhcdiag.gain(write(tmp_path, tensors()))
    assert any("every entry of H_res is 1" in note and "by 4" in note for note in result.notes)
    assert [line for line in result.assumed if "x-transformers 2.14.0 or later" in line]


@pytest.mark.parametrize("tanh", [True, False])
def test_earlier_versions_mix_by_the_logits_themselves(tmp_path, tanh: bool):
    """Before 2.14.0: the original hyper-connections behind a LayerNorm without bias."""
    model = bytedance(dynamic=True, tanh=tanh)
    stored = {name: torch.tensor(value, dtype=torch.float32) for name, value in model.tensors.items()}
    stored = {name: value for name, value in stored.items() if not name.endswith("layer_norm.bias")}
    renamed = {name.replace("layer_norm.weight", "norm.weight"): value for name, value in stored.items()}
    for inputs in ("static", "random"):
        own = mhcdiag.gain(write(tmp_path / "own", stored), inputs=inputs, tanh=tanh)
        early = mhcdiag.gain(write(tmp_path / "early", renamed), inputs=inputs, tanh=tanh)
        assert (own.layout, early.layout) == ("bytedance-hc", "x-transformers")
        assert early.gain == own.gain
        assert early.worst["forward", "norm"].value > 1.01


def test_an_encoder_and_a_decoder_are_not_one_stack(tmp_path):
    both = tensors(prefix="encoder.attn_layers.") | tensors(prefix="decoder.net.attn_layers.")
    with pytest.raises(LayoutError, match=r"several stacks of hyper-connections: decoder\.net\.attn_layers\., encoder"):
        mhcdiag.gain(write(tmp_path, both))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("3.2.static_alpha", torch.zeros(3, 4), "site 3.ffn has another number of streams"),
        ("0.2.static_alpha", torch.zeros(4, 4), "has shape [4, 4]; expected [n, v + n]"),
        ("2.2.norm.weight", None, "but no norm.weight"),
    ],
)
def test_what_is_damaged_is_named(tmp_path, name: str, value, message: str):
    stored = tensors()
    if value is None:
        del stored[f"attn_layers.layers.{name}"]
    else:
        stored[f"attn_layers.layers.{name}"] = value
    with pytest.raises(LayoutError, match=re.escape(message)):
        mhcdiag.gain(write(tmp_path, stored))


def test_nan_in_the_logits_is_named(tmp_path):
    stored = tensors()
    stored["attn_layers.layers.1.2.static_alpha"][0, 0] = float("nan")
    result = mhcdiag.gain(write(tmp_path, stored))
    assert [broken.site for broken in result.nonfinite] == ["1.ffn"]


def test_settings_that_mean_nothing_are_refused(tmp_path):
    with pytest.raises(SettingError, match="--sinkhorn-iters means nothing for layout x-transformers"):
        mhcdiag.gain(write(tmp_path, tensors()), sinkhorn_iters=3)


def test_the_running_package_makes_all_ones(tmp_path):
    """Where x-transformers is installed: its own module on random streams."""
    package = pytest.importorskip("x_transformers.x_transformers")
    module = package.HyperConnection(WIDTH, layer_index=1, num_residual_streams=STREAMS)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_()
        x = torch.randn(STREAMS, 5, WIDTH)
        _, after, _ = module.prepare(x)
    state = {f"attn_layers.layers.0.2.{name}": value for name, value in module.state_dict().items()}
    (matrix,) = mhcdiag.gain(write(tmp_path, state)).mean_mappings
    expected = torch.einsum("ts,snd->ntd", torch.tensor(matrix, dtype=torch.float32), x)
    torch.testing.assert_close(after.reshape(expected.shape), expected)
