"""Writing and rewriting checkpoints and captured mappings as users have them on disk."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file


def save_shards(model: Any, path: Path) -> None:
    """Save through the package, in several shards."""
    model.save_pretrained(path, max_shard_size="20KB")
    assert len(list(path.glob("*.safetensors"))) > 1


def write_captured(path: Path, maps: np.ndarray, sites: list[str]) -> Path:
    """Captured mappings [site, token, n, n] in mhcdiag's interchange format."""
    tensors = {f"layers.{i}.h_res": torch.tensor(of_site).contiguous() for i, of_site in enumerate(maps)}
    save_file(tensors, path, metadata={"sites": json.dumps(sites)})
    return path


def read_tensors(directory: Path) -> dict[str, torch.Tensor]:
    """All tensors of all shards of a directory."""
    tensors = {}
    for shard in sorted(directory.glob("*.safetensors")):
        with safe_open(shard, framework="pt") as file:
            tensors |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    return tensors


def write_checkpoint(directory: Path, tensors: dict[str, torch.Tensor], *, config: dict | None = None) -> Path:
    """One `model.safetensors`, with a `config.json` beside it where one is given."""
    directory.mkdir(parents=True, exist_ok=True)
    save_file(tensors, directory / "model.safetensors")
    if config is not None:
        (directory / "config.json").write_text(json.dumps(config))
    return directory


def rewrite(source: Path, target: Path, rename: Callable[[str], str], extra: dict[str, torch.Tensor]) -> Path:
    """A copy of a checkpoint with renamed tensors, further tensors and the same configuration."""
    tensors = {rename(name): tensor for name, tensor in read_tensors(source).items()}
    return write_checkpoint(target, tensors | extra, config=json.loads((source / "config.json").read_text()))
