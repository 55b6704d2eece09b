"""The layout of our own toy models."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import mhcdiag
from mhcdiag.errors import LayoutError, SettingError
from mhcdiag.layouts import recognise
from mhcdiag.layouts.checks import TOY_METADATA as METADATA_KEY
from mhcdiag.layouts.interface import Overrides
from mhcdiag.tensorfiles import open_checkpoint
from mhcdiag.toy.runfolder import config_of, named_tensors, write_checkpoint
from mhcdiag.toy.settings import ToySettings
from mhcdiag.toy.topologies import topology_for

SETTINGS = {"depth": 3, "width": 7, "heads": 1, "streams": 3}


def parameters(topology: str, *, seed: int = 1) -> dict[str, torch.Tensor]:
    """Random connection parameters, far from their start."""
    generator = torch.Generator().manual_seed(seed)
    start = topology_for(ToySettings(topology=topology, **SETTINGS)).initial(
        ToySettings(topology=topology, **SETTINGS), generator
    )
    return {f"hc.{name}": value + 0.3 * torch.randn(value.shape, generator=generator) for name, value in start.items()}


def written(folder: Path, topology: str) -> str:
    write_checkpoint(folder, ToySettings(topology=topology, **SETTINGS), 5, parameters(topology))
    return str(folder / "step_000005.safetensors")


def composite(matrices: list[np.ndarray]) -> np.ndarray:
    product = np.eye(len(matrices[0]))
    for matrix in matrices:
        product = matrix @ product
    return product


def static_matrices(path: str, topology: str) -> list[np.ndarray]:
    """H_res with the input-dependent part at zero, as the README describes it."""
    tensors = {name: values.double().numpy() for name, values in load_file(path).items()}
    found = []
    for site in range(6):
        base = tensors[f"blocks.{site // 2}.{('attn', 'ffn')[site % 2]}.hc.b_res"]
        if topology == "mhc":
            base = np.exp(base) / np.exp(base).sum(axis=0) + 1e-6
            for step in range(39):
                base = base / (base.sum(axis=1 - step % 2, keepdims=True) + 1e-6)
        if topology == "mhc-lite":
            orders = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
            weights = np.exp(base) / np.exp(base).sum()
            base = sum(w * np.eye(3)[list(order)] for w, order in zip(weights, orders, strict=True))
        found.append(base)
    return found


@pytest.mark.parametrize("topology", ["hc", "mhc", "mhc-lite"])
def test_static_gains_are_those_of_the_described_mappings(tmp_path: Path, topology: str):
    path = written(tmp_path, topology)
    result = mhcdiag.gain(path, inputs="static")
    whole = composite(static_matrices(path, topology))
    assert result.curve("prefix", "forward", "norm")[-1] == pytest.approx(abs(whole).sum(axis=1).max(), rel=1e-5)
    assert result.curve("prefix", "backward", "amax")[-1] == pytest.approx(abs(whole.sum(axis=0)).max(), rel=1e-5)
    assert (result.layout, result.model, result.streams) == ("toy", topology, 3)
    assert result.sites[:3] == ("0.attn", "0.ffn", "1.attn")
    assert result.assumed == ()


def test_random_inputs_give_what_a_draw_in_full_gives(tmp_path: Path):
    """One site of hyper-connections: mean gain over many tokens drawn here, 4 standard errors."""
    path = written(tmp_path, "hc")
    tensors = {name: values.double().numpy() for name, values in load_file(path).items()}
    x = np.random.default_rng(3).standard_normal((20011, 3, 7))
    x /= np.sqrt((x**2).mean(axis=2, keepdims=True) + 1e-6)
    prefix = "blocks.0.attn.hc"
    maps = tensors[f"{prefix}.alpha_res"] * np.tanh(tensors[f"{prefix}.theta_res"] @ x.swapaxes(1, 2))
    gains = abs(maps + tensors[f"{prefix}.b_res"]).sum(axis=2).max(axis=1)
    result = mhcdiag.gain(path, inputs="random", tokens=20011)
    error = gains.std() / len(gains) ** 0.5
    assert result.curve("single", "forward", "norm")[0] == pytest.approx(gains.mean(), abs=4 * 2**0.5 * error)


@pytest.mark.parametrize("topology", ["hc", "mhc", "mhc-lite"])
def test_each_token_is_mapped_as_described(tmp_path: Path, topology: str):
    """Token by token from the drawn projections, so that a transposed site cannot hide in a gain of its own."""
    path = written(tmp_path, topology)
    tensors = {name: values.double().numpy() for name, values in load_file(path).items()}
    checkpoint = open_checkpoint(path)
    layout, recognition = recognise(checkpoint)
    source = layout.read(checkpoint, recognition, Overrides(), dynamic=True).parameters.random(tokens=5, seed=3)
    found = source.chunk(0, 5).numpy()
    for site, sampler in enumerate(source.samplers):
        prefix = f"blocks.{site // 2}.{('attn', 'ffn')[site % 2]}.hc."
        alpha, base = tensors[f"{prefix}alpha_res"], tensors[f"{prefix}b_res"]
        for token, drawn in enumerate(sampler.draw(0, 5).transpose(2, 0, 1).astype(np.float64)):
            if topology == "hc":  # drawn [source, target]
                expected = alpha * np.tanh(drawn).T + base
            elif topology == "mhc":  # drawn source by source, stored target by target
                expected = _sinkhorn(alpha * drawn[0].reshape(3, 3).T + base)
            else:
                expected = _permuted(alpha * drawn[0] + base)
            np.testing.assert_allclose(found[site, :, :, token], expected, rtol=1e-4, atol=1e-5)


def test_aligned_inputs_are_what_the_toy_itself_makes_of_the_same_directions(tmp_path: Path):
    from mhcdiag.toy.topologies.hyper import HC

    path = written(tmp_path, "hc")
    tensors = load_file(path)
    checkpoint = open_checkpoint(path)
    layout, recognition = recognise(checkpoint)
    source = layout.read(checkpoint, recognition, Overrides(), dynamic=True).maps("aligned", tokens=5, seed=1)
    found = source.chunk(0, 5)
    roles = [f"{part}_{role}" for part in ("theta", "alpha", "b") for role in ("pre", "post", "res")]
    sites = [f"blocks.{site // 2}.{('attn', 'ffn')[site % 2]}.hc" for site in range(len(found))]
    packed = HC.pack({role: torch.stack([tensors[f"{site}.{role}"] for site in sites]) for role in roles})
    streams = source.inputs(0, 5).float()[:, None].expand(-1, 3, -1)
    streams = 1e3 * streams / streams.square().mean(dim=-1, keepdim=True).sqrt()  # large against the eps of the norm
    for site, maps in enumerate(found):
        res = HC.maps(streams, tuple(part[site] for part in packed)).res
        np.testing.assert_allclose(maps.permute(2, 0, 1), res, rtol=1e-4, atol=1e-5)
        streams = torch.bmm(res, streams)
        streams = 1e3 * streams / streams.abs().amax(dim=(1, 2), keepdim=True)


@pytest.mark.parametrize(("topology", "role"), [("hc", "theta_res"), ("mhc", "phi_res"), ("mhc-lite", "phi_res")])
def test_projections_are_drawn_in_the_order_of_the_stored_matrix(tmp_path: Path, topology: str, role: str):
    path = written(tmp_path, topology)
    checkpoint = open_checkpoint(path)
    layout, recognition = recognise(checkpoint)
    factors = layout.read(checkpoint, recognition, Overrides(), dynamic=True).parameters.factors
    weight = load_file(path)[f"blocks.0.attn.hc.{role}"].double().numpy()
    if topology == "mhc":
        weight = weight.reshape(3, 3, -1).swapaxes(0, 1).reshape(9, -1)
    triangle = factors[0].triangle.numpy()
    np.testing.assert_allclose(triangle.T @ triangle, weight @ weight.T, rtol=1e-9, atol=1e-9)


def _sinkhorn(logits: np.ndarray) -> np.ndarray:
    """Softmax over targets of each source, then both sides in turn, rows (targets) last."""
    matrix = np.exp(logits) / np.exp(logits).sum(axis=0) + 1e-6
    for step in range(39):
        matrix = matrix / (matrix.sum(axis=1 - step % 2, keepdims=True) + 1e-6)
    return matrix


def _permuted(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits) / np.exp(logits).sum()
    orders = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
    return sum(w * np.eye(3)[list(order)] for w, order in zip(weights, orders, strict=True))


@pytest.mark.parametrize(
    ("settings", "iterations", "eps"),
    [(Overrides(), 20, 1e-6), (Overrides(sinkhorn_iters=3), 3, 1e-6), (Overrides(sinkhorn_eps=0.0), 20, 0.0)],
)
def test_the_users_sinkhorn_settings_count(tmp_path: Path, settings: Overrides, iterations: int, eps: float):
    checkpoint = open_checkpoint(written(tmp_path, "mhc"))
    layout, recognition = recognise(checkpoint)
    recipe = layout.read(checkpoint, recognition, settings, dynamic=False).parameters.recipe
    assert (recipe.constraint.iterations, recipe.constraint.eps) == (iterations, eps)
    assert (recipe.norm.per_stream, recipe.norm.eps) == (False, 1e-6)


def test_mhc_and_mhc_lite_are_bounded(tmp_path: Path):
    mhc, lite = (mhcdiag.gain(written(tmp_path, name)) for name in ("mhc", "mhc-lite"))
    assert mhc.bound["backward"].worst == 3
    assert [lite.bound[way].worst for way in ("forward", "backward")] == [1, 1]
    assert lite.worst["backward", "norm"].value == pytest.approx(1, abs=1e-5)
    assert lite.sinkhorn is None


def test_identity_hc_is_the_identity(tmp_path: Path):
    result = mhcdiag.gain(written(tmp_path, "identity-hc"))
    assert (result.layout, result.streams, len(result.sites)) == ("identity", 3, 6)
    assert result.worst["forward", "norm"].value == 1


def test_the_configuration_serves_where_there_is_no_metadata(tmp_path: Path):
    settings = ToySettings(topology="mhc", sinkhorn_iters=2, **SETTINGS)
    save_file(named_tensors(parameters("mhc")), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config_of(settings)))
    two = mhcdiag.gain(tmp_path, inputs="static").worst["backward", "norm"].value
    (tmp_path / "config.json").write_text(json.dumps(config_of(settings) | {"sinkhorn_iters": 50}))
    assert mhcdiag.gain(tmp_path, inputs="static").worst["backward", "norm"].value < two


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "topology None; expected one of hc, mhc, mhc-lite, identity-hc"),
        ({METADATA_KEY: "{"}, "metadata key 'mhcdiag_toy' is not JSON"),
        ({METADATA_KEY: "[]"}, "metadata key 'mhcdiag_toy' is no JSON object"),
        ({METADATA_KEY: '{"topology": "hc"}'}, "no number of streams"),
        ({METADATA_KEY: '{"topology": "hc", "streams": 4}'}, r"b_res has shape \[3, 3\]; expected \[4, 4\]"),
        ({METADATA_KEY: '{"topology": "mhc", "streams": 3}'}, "site 0.attn has no phi_res"),
        ({METADATA_KEY: '{"topology": "hc", "streams": 3, "num_hidden_layers": 5}'}, "layers 3, 4 have no attn"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, metadata: dict[str, str], message: str):
    save_file(named_tensors(parameters("hc")), tmp_path / "x.safetensors", metadata=metadata)
    with pytest.raises(LayoutError, match=message):
        mhcdiag.gain(tmp_path / "x.safetensors")


def test_settings_of_other_topologies_are_refused(tmp_path: Path):
    with pytest.raises(SettingError, match=r"--sinkhorn-iters means nothing for layout toy \(hc\)"):
        mhcdiag.gain(written(tmp_path, "hc"), sinkhorn_iters=5)
    with pytest.raises(SettingError, match=r"--tanh means nothing for layout toy \(mhc\)"):
        mhcdiag.gain(written(tmp_path, "mhc"), tanh=False)


def test_nan_is_named(tmp_path: Path):
    broken = parameters("hc")
    broken["hc.b_res"][2, 1, 0] = float("nan")
    write_checkpoint(tmp_path, ToySettings(topology="hc", **SETTINGS), 5, broken)
    result = mhcdiag.gain(tmp_path / "step_000005.safetensors")
    assert result.nonfinite[0].site == "1.attn"
