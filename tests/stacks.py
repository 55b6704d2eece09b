"""Small checkpoints of our own making, for tests of layouts, gates, reports and the command line."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

Tensors = dict[str, torch.Tensor]

CONFIG = {
    "model_type": "deepseek_v4",
    "num_hidden_layers": 3,
    "hidden_size": 7,
    "hc_mult": 2,
    "hc_sinkhorn_iters": 20,
    "hc_eps": 1e-6,
    "rms_norm_eps": 1e-6,
}


def deepseek_v4_tensors(*, layers: int = 3, streams: int = 2, width: int = 7, seed: int = 0) -> Tensors:
    """The mixing tensors of a DeepSeek-V4 checkpoint in its released spelling, all random."""
    generator = torch.Generator().manual_seed(seed)
    rows = streams * (streams + 2)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    tensors: Tensors = {}
    for layer in range(layers):
        for kind in ("attn", "ffn"):
            tensors[f"layers.{layer}.hc_{kind}_fn"] = random(rows, streams * width)
            tensors[f"layers.{layer}.hc_{kind}_base"] = random(rows)
            tensors[f"layers.{layer}.hc_{kind}_scale"] = random(3)
    return tensors


def hyper_connections_tensors(*, sites: int = 5, streams: int = 3, width: int = 7, spread: float = 0.3) -> Tensors:
    """The tensors of unconstrained hyper-connections in a stack of numbered blocks, all random."""
    generator = torch.Generator().manual_seed(1)
    tensors: Tensors = {}
    for site in range(sites):
        path = f"layers.{site // 2}.{('attn', 'ff')[site % 2]}."
        identity = torch.cat([torch.zeros(streams, 1), torch.eye(streams)], dim=1)
        noise = torch.randn(streams, streams + 1, generator=generator)
        tensors[path + "static_alpha"] = identity + spread * noise
        tensors[path + "dynamic_alpha_fn"] = torch.randn(width, streams + 1, generator=generator)
        tensors[path + "dynamic_alpha_scale"] = torch.tensor(0.2)
        tensors[path + "norm.gamma"] = torch.zeros(width)
        tensors[path + "static_beta"] = torch.ones(streams)
        tensors[path + "dynamic_beta_fn"] = torch.zeros(width)
        tensors[path + "dynamic_beta_scale"] = torch.tensor(0.01)
    return tensors


def captured_tensors(maps: torch.Tensor) -> Tensors:
    """Captured mappings from H [site, token, n, n]."""
    return {f"layers.{site}.h_res": matrix.clone() for site, matrix in enumerate(maps)}


def write(
    directory: Path,
    tensors: Tensors,
    *,
    config: Mapping[str, Any] | None = None,
    metadata: dict[str, str] | None = None,
) -> Path:
    """Write `model.safetensors`, and `config.json` beside it, into a directory of its own; returns the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    save_file(tensors, directory / "model.safetensors", metadata=metadata)
    if config is not None:
        (directory / "config.json").write_text(json.dumps(config))
    return directory
