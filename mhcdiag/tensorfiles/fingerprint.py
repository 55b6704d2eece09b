"""What tells one checkpoint from another without reading all of it: a hash that captured mappings carry along.

Hashed are name, element type and shape of every tensor; the bytes of up to 2048 tensors of at most 64 KiB (norms,
biases, gates, routers); and the first row, at most 64 KiB of it, of up to 256 larger ones, evenly spaced in the order
of names. An optimiser step changes all of these, so that checkpoints of one run are told apart; a change of a single
large tensor that is not among the 256, or beyond its first row, is not seen.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING

from mhcdiag.errors import ContainerError
from mhcdiag.namedtensors import NamedTensors, TensorInfo, natural_key, prefetch

if TYPE_CHECKING:
    from torch import Tensor

SMALL_BYTES = 1 << 16
SMALL_TENSORS, LARGE_TENSORS = 2048, 256
_WIDEST = 8
"""Bytes of an element, where its type has an unknown name."""
_BYTES = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}


def fingerprint(checkpoint: NamedTensors) -> str:
    """The hash of a checkpoint, as "sha256:..."; it reads at most some hundred MB, most often less than ten.

    Raises
    ------
    ContainerError
        The checkpoint cannot be read.
    """
    infos = checkpoint.tensors
    small, large = _chosen(infos.values())
    prefetch(checkpoint, [info.name for info in small])
    return _hash(infos, small, large, lambda name, rows: checkpoint.read(name, rows=rows))


def fingerprint_of(tensors: "Mapping[str, Tensor]") -> str:
    """The same of tensors in memory: equal to that of a file which holds them under these names."""
    from mhcdiag.tensorfiles.element_types import spelling_of

    infos = {name: TensorInfo(name, spelling_of(t.dtype), tuple(t.shape)) for name, t in tensors.items()}
    small, large = _chosen(infos.values())
    return _hash(infos, small, large, lambda name, rows: tensors[name] if rows is None else tensors[name][rows])


def _chosen(infos: Iterable[TensorInfo]) -> tuple[list[TensorInfo], list[TensorInfo]]:
    """Tensors that are hashed whole, and those of which the first row is."""
    ordered = sorted((info for info in infos if prod(info.shape)), key=lambda info: natural_key(info.name))
    small = [info for info in ordered if _bytes(info) <= SMALL_BYTES]
    large = [info for info in ordered if _bytes(info) > SMALL_BYTES]
    return _spread(small, SMALL_TENSORS), _spread(large, LARGE_TENSORS)


def _bytes(info: TensorInfo) -> int:
    of_one = 1 if info.dtype.startswith(("F8", "I8", "U8", "BOOL")) else _BYTES.get(info.dtype, _WIDEST)
    return prod(info.shape) * of_one


def _spread(infos: Sequence[TensorInfo], most: int) -> list[TensorInfo]:
    count = min(len(infos), most)
    return [infos[at * len(infos) // count] for at in range(count)]


def _hash(
    infos: Mapping[str, TensorInfo],
    small: Sequence[TensorInfo],
    large: Sequence[TensorInfo],
    read: "Callable[[str, slice | None], Tensor]",
) -> str:
    import torch

    found = hashlib.sha256()
    for name in sorted(infos, key=natural_key):
        found.update(f"{name}\0{infos[name].dtype}\0{list(infos[name].shape)}\n".encode())
    for infos_of, rows in ((small, None), (large, slice(0, 1))):
        for info in infos_of:
            try:
                values = read(info.name, rows).detach()
            except ContainerError:  # an element type that torch cannot hold: its name, type and shape are hashed
                continue
            flat = values.contiguous().reshape(-1).view(torch.uint8)[:SMALL_BYTES].cpu()
            found.update(bytes(flat.numpy()))
    return f"sha256:{found.hexdigest()}"
