"""Small checkpoints that are sound but for one planted fault, in every container that people save them in."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tensorfiles.gguf_files import write_gguf

LAYERS, WIDTH, EXPERTS = 4, 64, 4
CONFIG = {"model_type": "mixtral", "num_hidden_layers": LAYERS, "num_local_experts": EXPERTS}

Tensors = dict[str, torch.Tensor]


def trained(rows: int, columns: int, generator: torch.Generator) -> torch.Tensor:
    """A matrix whose rows and columns have sizes of their own, as training leaves them."""
    sizes = torch.rand(rows, 1, generator=generator) + 0.5
    return 0.02 * sizes * torch.randn(rows, columns, generator=generator)


def sound() -> Tensors:
    """A mixture of experts with every kind of tensor that such a model has."""
    g = torch.Generator().manual_seed(0)
    found = {"model.embed_tokens.weight": trained(128, WIDTH, g), "lm_head.weight": trained(128, WIDTH, g)}
    for layer in range(LAYERS):
        block = f"model.layers.{layer}"
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            found[f"{block}.self_attn.{name}.weight"] = trained(WIDTH, WIDTH, g)
        found[f"{block}.input_layernorm.weight"] = torch.ones(WIDTH)
        found[f"{block}.block_sparse_moe.gate.weight"] = trained(EXPERTS, WIDTH, g)
        for expert in range(EXPERTS):
            for name, shape in (("w1", (96, WIDTH)), ("w2", (WIDTH, 96))):
                found[f"{block}.block_sparse_moe.experts.{expert}.{name}.weight"] = trained(*shape, g)
    return found


ATTENTION = "model.layers.2.self_attn.v_proj.weight"
EMBEDDING = "model.embed_tokens.weight"
ROUTER = "model.layers.1.block_sparse_moe.gate.weight"
EXPERT = "model.layers.3.block_sparse_moe.experts.2.w1.weight"
OTHER_EXPERT = "model.layers.3.block_sparse_moe.experts.0.w1.weight"


def _nan(tensors: Tensors) -> None:
    tensors[ATTENTION][5, 7] = float("nan")


def _infinite(tensors: Tensors) -> None:
    tensors[EMBEDDING][-1, -1] = float("-inf")


def _zero(tensors: Tensors) -> None:
    tensors[ATTENTION].zero_()


def _constant(tensors: Tensors) -> None:
    tensors[ATTENTION].fill_(0.25)


def _duplicate(tensors: Tensors) -> None:
    tensors[EXPERT].copy_(tensors[OTHER_EXPERT])


def _dead_expert(tensors: Tensors) -> None:
    tensors[EXPERT].zero_()


def _fresh_expert(tensors: Tensors) -> None:
    tensors[EXPERT] = 0.02 * torch.randn(tensors[EXPERT].shape, generator=torch.Generator().manual_seed(1))


def _collinear(tensors: Tensors) -> None:
    tensors[ROUTER][:] = tensors[ROUTER][0] * torch.tensor([1.0, 0.5, 2.0, 1.5])[:, None]


def _dead_router(tensors: Tensors) -> None:
    tensors[ROUTER][2] *= 1e-4


def _exploding(tensors: Tensors) -> None:
    tensors[ROUTER][3] *= 100


def _dead_rows(tensors: Tensors) -> None:
    tensors[ATTENTION][8:24] = 0


def _dead_columns(tensors: Tensors) -> None:
    tensors[ATTENTION][:, 3] = 0


def _outlier_row(tensors: Tensors) -> None:
    tensors[ATTENTION][17] *= 1000


def _outlier_column(tensors: Tensors) -> None:
    tensors[ATTENTION][:, 40] *= 1000


def _scale(tensors: Tensors) -> None:
    tensors[ATTENTION] *= 1e-6


def _too_large(tensors: Tensors) -> None:
    tensors[ATTENTION][0, 0] = 1e7


FAULTS: dict[str, tuple[str, str, Callable[[Tensors], None]]] = {
    "nan": ("nan", ATTENTION, _nan),
    "infinite": ("infinite", EMBEDDING, _infinite),
    "zero v_proj": ("zero", ATTENTION, _zero),
    "constant v_proj": ("constant", ATTENTION, _constant),
    "equal experts": ("duplicate", EXPERT, _duplicate),
    "dead expert": ("zero", EXPERT, _dead_expert),
    "fresh expert": ("fresh", EXPERT, _fresh_expert),
    "collapsed router": ("router_collinear", ROUTER, _collinear),
    "dead router row": ("router_dead", ROUTER, _dead_router),
    "exploding router row": ("router_exploding", ROUTER, _exploding),
    "dead rows": ("dead_rows", ATTENTION, _dead_rows),
    "dead column": ("dead_columns", ATTENTION, _dead_columns),
    "outlier row": ("outlier_rows", ATTENTION, _outlier_row),
    "outlier column": ("outlier_columns", ATTENTION, _outlier_column),
    "lost scale": ("scale", ATTENTION, _scale),
    "flipped bit": ("scale", ATTENTION, _too_large),
}
"""Kind of finding, tensor, and what does it; by a name."""


def planted(name: str) -> Tensors:
    """The sound model with one fault."""
    tensors = sound()
    FAULTS[name][2](tensors)
    return tensors


# Containers


def as_safetensors(folder: Path, tensors: Tensors) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder


def as_shards(folder: Path, tensors: Tensors) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    names = list(tensors)
    weight_map = {name: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(names)}
    for shard in sorted(set(weight_map.values())):
        save_file({name: tensors[name] for name in names if weight_map[name] == shard}, folder / shard)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder


def as_pt(folder: Path, tensors: Tensors) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"model": tensors, "config": CONFIG, "step": 7}, folder / "step_7.pt")
    return folder / "step_7.pt"


def as_old_pt(folder: Path, tensors: Tensors) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    saved = {"model": tensors, "config": CONFIG}
    torch.save(saved, folder / "old.pt", _use_new_zipfile_serialization=False)
    return folder / "old.pt"


def as_gguf(folder: Path, tensors: Tensors) -> Path:
    arrays = {name: np.asarray(tensor) for name, tensor in tensors.items()}
    facts = {"general.architecture": "mixtral", "mixtral.num_local_experts": EXPERTS}
    return write_gguf(folder / "model.gguf", arrays, facts)


def as_dcp(folder: Path, tensors: Tensors) -> Path:
    from torch.distributed.checkpoint import FileSystemWriter
    from torch.distributed.checkpoint import save as save_distributed

    with warnings.catch_warnings(action="ignore"):
        save_distributed({"model": tensors}, storage_writer=FileSystemWriter(folder), no_dist=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder


CONTAINERS = {
    "safetensors": as_safetensors,
    "shards": as_shards,
    "pt": as_pt,
    "old pt": as_old_pt,
    "gguf": as_gguf,
    "dcp": as_dcp,
}
