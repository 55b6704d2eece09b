"""How far inputs move pre and post logits, in every way that layouts store their projections."""

import json

import numpy as np
import pytest
import torch
from layouts.formulas import CASES
from safetensors.torch import save_file
from stacks import write

import mhcdiag
from mhcdiag.layouts import recognise
from mhcdiag.layouts.checks import TOY_METADATA as METADATA_KEY
from mhcdiag.tensorfiles import open_checkpoint
from mhcdiag.weight_readers.gate_spreads import read_gate_spreads

N = 3


def deviations(weight: np.ndarray, alpha, norm=1.0) -> np.ndarray:
    """|alpha| times the length of each row of a projection [row, input], the weight of the norm folded in."""
    return abs(float(np.ravel(alpha)[0])) * np.sqrt(((weight * norm) ** 2).sum(axis=1))


def fused(path: str, scale: str, norm: str = ""):
    """Rows 0..n and n..2n, and factors 0 and 1 of three."""

    def expected(t):
        gamma = t[norm] if norm else 1.0
        return [deviations(t[path][part * N : part * N + N], t[scale][part], gamma) for part in (0, 1)]

    return expected


def named(path: str, alpha: str, norm: str = "", *, input_major: bool = False):
    """The same with a factor named for each part."""

    def expected(t):
        weight = t[path].T if input_major else t[path]
        gamma = t[norm] if norm else 1.0
        return [
            deviations(weight[at * N : at * N + N], t[alpha.replace("*", part)], gamma)
            for at, part in enumerate(("pre", "post"))
        ]

    return expected


def separate(path: str, alpha: str, norm: str = ""):
    """A projection for each part."""

    def expected(t):
        gamma = t[norm] if norm else 1.0
        return [deviations(t[path.replace("*", part)], t[alpha.replace("*", part)], gamma) for part in ("pre", "post")]

    return expected


MEGATRON = "decoder.layers.0.self_attention_hyper_connection."
PANGU, MOTIF, MAGI = "model.layers.0.attn_mhc_module.", "model.layers.0.mhc_attn.", "block.layers.0.mhc_"
EXPECTED = {
    "deepseek_v4": fused("layers.0.hc_attn_fn", "layers.0.hc_attn_scale"),
    "gguf": fused("blk.0.hc_attn_fn.weight", "blk.0.hc_attn_scale.weight"),
    "openpangu": fused(f"{PANGU}phi.weight", f"{PANGU}branch_alpha", f"{PANGU}norm_gamma"),
    "megatron_main": named(f"{MEGATRON}mapping_proj.weight", f"{MEGATRON}alpha_*"),
    "telechat": named("model.layers.0.attn_hc.mapping_weight", "model.layers.0.attn_hc.alpha_*"),
    "liger": named("layers.0.attn_mhc.phi", "layers.0.attn_mhc.alpha_*", input_major=True),
    "motif": separate(f"{MOTIF}proj_*.weight", f"{MOTIF}alpha_*", f"{MOTIF}rms_norm.weight"),
    "motif_merged": named(f"{MOTIF}proj_merged.weight", f"{MOTIF}alpha_*", f"{MOTIF}rms_norm.weight"),
    "mhc_cu": separate("layers.0.phi_*", "layers.0.alpha_*"),
    "mhc_pytorch": separate("blocks.0.phi_*.weight", "blocks.0.alpha_*"),
}


def whole(name: str):
    """A case with what its formulas leave out: the parameters of pre and post, at every site."""
    model = CASES[name]()
    generator = np.random.default_rng(1)
    found = {key: np.asarray(value) for key, value in model.tensors.items()}
    for key, value in list(found.items()):
        for part in ("pre", "post"):
            other = key.replace("res", part)
            if "res" in key and other not in found:
                rows = (N, *value.shape[1:]) if value.ndim == 2 and value.shape[0] == N * N else value.shape
                shape = rows if value.shape != (N, N) else (N,)
                found[other] = generator.standard_normal(shape if value.shape != (N * N,) else (N,))
    return model, {key: value.astype(np.float32) for key, value in found.items()}


def spreads(tmp_path, model, tensors, name: str = "model"):
    path = tmp_path / name
    write(
        path,
        {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in tensors.items()},
        config=model.config,
    )
    checkpoint = open_checkpoint(path)
    layout, recognition = recognise(checkpoint, layout=model.layout)
    return read_gate_spreads(checkpoint, layout, recognition, N)


@pytest.mark.parametrize("name", EXPECTED)
def test_deviations_are_those_of_the_columns(tmp_path, name: str):
    model, tensors = whole(name)
    found = spreads(tmp_path, model, tensors)
    assert found is not None
    assert len(found) == len(model.mixes)
    pre, post = EXPECTED[name](tensors)
    np.testing.assert_allclose(found[0].pre.numpy(), pre, rtol=1e-5)
    np.testing.assert_allclose(found[0].post.numpy(), post, rtol=1e-5)


def test_magi_adds_one_to_its_norm_and_divides_by_the_root_of_the_inputs(tmp_path):
    model, tensors = whole("magi")
    found = spreads(tmp_path, model, tensors)
    weight, norm = tensors[f"{MAGI}phi_fused_attn"].T, tensors[f"{MAGI}norm.weight"]
    inputs = weight.shape[1]
    for at, part in enumerate(("pre", "post")):
        expected = deviations(
            weight[at * N : at * N + N], tensors[f"{MAGI}alpha_{part}_attn"], (norm[:inputs] + 1) / inputs**0.5
        )
        np.testing.assert_allclose(getattr(found[0], part).numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["mhc_lite_mhc", "mhc_lite", "kromhc"])
def test_columns_before_the_residual_ones(tmp_path, name: str):
    model, tensors = whole(name)
    generator = np.random.default_rng(2)
    n = model.streams
    for key in [key for key in tensors if key.endswith("residual_scale")]:
        module = key.removesuffix("residual_scale")
        inputs = len(tensors[module + "norm.gamma"])
        tensors[module + "pre_branch_scale"] = np.float32([0.7])
        tensors[module + "h_post_scale"] = np.float32(-1.3)
        tensors[module + "dynamic_beta_fn"] = generator.standard_normal((inputs, n)).astype(np.float32)
    path = tmp_path / "model"
    write(path, {key: torch.from_numpy(np.array(value)) for key, value in tensors.items()}, config=model.config)
    checkpoint = open_checkpoint(path)
    layout, recognition = recognise(checkpoint, layout=model.layout)
    found = read_gate_spreads(checkpoint, layout, recognition, n)
    module = next(iter(tensors)).rpartition("static_alpha")[0] or "transformer.h.0.hc_attn."
    gamma = tensors["transformer.h.0.hc_attn.norm.gamma"] + 1
    fn = tensors["transformer.h.0.hc_attn.dynamic_alpha_fn"]
    columns = [stream * (n + 1) for stream in range(n)] if name == "mhc_lite_mhc" else list(range(n))
    np.testing.assert_allclose(found[0].pre.numpy(), deviations(fn[:, columns].T, 0.7, gamma), rtol=1e-5)
    beta = tensors["transformer.h.0.hc_attn.dynamic_beta_fn"]
    np.testing.assert_allclose(found[0].post.numpy(), deviations(beta.T, 1.3, gamma), rtol=1e-5)
    assert module == "transformer.h.0.hc_attn."


@pytest.mark.parametrize("name", ["mhc_lite", "motif"])
def test_what_is_not_stored_is_said_to_be_skipped(tmp_path, name: str):
    model = CASES[name]()
    tensors = {key: torch.from_numpy(np.array(value, dtype=np.float32)) for key, value in model.tensors.items()}
    if name == "motif":
        for key in [key for key in tensors if "bias_res" in key]:
            for part in ("pre", "post"):
                tensors[key.replace("res", part)] = torch.zeros(N)
    path = write(tmp_path, tensors, config=model.config)
    (check,) = mhcdiag.health(path, only=["gates"], layout=model.layout).checks
    assert check.skipped == ("the input-dependent part of pre and post: this layout stores it in no way that is known",)
    (check,) = mhcdiag.health(path, only=["gates"], layout=model.layout, inputs="static").checks
    assert check.skipped == ()


def test_our_own_toy(tmp_path):
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for site in ("attn", "ffn"):
        for part, rows in (("pre", 4), ("post", 4), ("res", 16)):
            tensors[f"blocks.0.{site}.hc.phi_{part}"] = torch.randn(rows, 20, generator=generator)
            tensors[f"blocks.0.{site}.hc.alpha_{part}"] = torch.tensor(2.5)
            shape = (4, 4) if part == "res" else (4,)
            tensors[f"blocks.0.{site}.hc.b_{part}"] = torch.zeros(shape)
    path = tmp_path / "toy.safetensors"
    save_file(tensors, path, metadata={METADATA_KEY: json.dumps({"topology": "mhc", "streams": 4})})
    checkpoint = open_checkpoint(path)
    layout, recognition = recognise(checkpoint, layout=None)
    found = read_gate_spreads(checkpoint, layout, recognition, 4)
    for part in ("pre", "post"):
        expected = 2.5 * tensors[f"blocks.0.ffn.hc.phi_{part}"].double().norm(dim=1)
        assert getattr(found[1], part).tolist() == pytest.approx(expected.tolist())
