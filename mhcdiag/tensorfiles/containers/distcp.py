"""Container: a torch distributed checkpoint, `.metadata` and `__R_N.distcp`, read without a process group.

`FileSystemWriter` of torch.distributed.checkpoint writes it (read as of torch 2.13): each rank R its files N of chunks,
and the coordinator `.metadata` when all have finished. torchtitan and scripts with FSDP save through it, and so does
Megatron-LM with `--ckpt-format torch_dist`, which adds `common.pt`. Megatron-LM stacks the same parameter of all layers
into one tensor whose name has no number (`decoder.layers.mlp...`); such a tensor is offered layer by layer.
"""

import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from mhcdiag.errors import ContainerError
from mhcdiag.namedtensors import NamedTensors, TensorInfo, row_range
from mhcdiag.tensorfiles.distcp_chunks import lies_within, place_in_archive, what_is_wrong
from mhcdiag.tensorfiles.distcp_metadata import Chunk, StoredTensor, read_metadata
from mhcdiag.tensorfiles.element_types import BITS, spelling_named
from mhcdiag.tensorfiles.interface import Container
from mhcdiag.tensorfiles.names import clean_names, listed, shown
from mhcdiag.tensorfiles.places import Place, config_beside, read_object
from mhcdiag.tensorfiles.state_dicts import DEFAULT_KEYS, config_in
from mhcdiag.tensorfiles.stores.local import LocalFile
from mhcdiag.tensorfiles.streams import Block, Stream, file_reader, tensor_reader
from mhcdiag.tensorfiles.torch_load import load_file

if TYPE_CHECKING:
    from torch import Tensor

    from mhcdiag.tensorfiles.streams import Bytes


_METADATA = ".metadata"
_SUFFIX = ".distcp"
_COMMON = "common.pt"
# Scripts call it "optim", "optimizer" or "optimizers"; Megatron-LM "optimizer.state.exp_avg....".
_OPTIMIZER = re.compile("optim", re.IGNORECASE)
# A name that goes on with a letter after "layers.": one with a number belongs to a single layer already.
_STACKED = re.compile(r"(?P<before>(?:^|\.)layers\.)(?=[^\d.])")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    """One tensor as it is offered."""

    stored: StoredTensor
    layer: int | None
    """Index into the first axis of a stack of layers; None for a whole tensor."""

    @property
    def shape(self) -> tuple[int, ...]:
        return self.stored.shape if self.layer is None else self.stored.shape[1:]


def _recognises(place: Place) -> bool:
    """A directory with shards or metadata."""
    if place.content is not None:
        return False
    return any(name.endswith(_SUFFIX) for name in place.names) or os.path.lexists(place.beside(_METADATA))


def _open(place: Place, *, key: str | None) -> NamedTensors:
    """Read the metadata; no shard is opened.

    Raises
    ------
    ContainerError
        The metadata or a shard is missing, or they cannot be trusted.
    """
    path = place.beside(_METADATA)
    if not os.path.lexists(path):
        raise ContainerError(
            place.path,
            found=f"shards of a distributed checkpoint ({listed(n for n in place.names if n.endswith(_SUFFIX))})",
            expected=f"{_METADATA} beside them",
            hint="the checkpoint was not finished, or hidden files were not copied",
        )
    every = read_metadata(path)
    stored = _chosen(place.path, every, key)
    kept = {id(one) for one in stored.values()}
    files = sorted({chunk.file for tensor in stored.values() for chunk in tensor.chunks})
    config = config_beside(place)
    return _DistributedTensors(
        place,
        stored=stored,
        files={name: _shard(place, name) for name in files},
        metadata=LocalFile(path),
        config=config,
        common=_common(place),
        others={name: one for name, one in every.items() if id(one) not in kept},
    )


def _common(place: Place) -> dict[str, Any] | None:
    """Megatron-LM's arguments, which it saves beside the shards; None where they cannot be read without code."""
    if _COMMON not in place.names:
        return None
    try:
        return config_in(load_file(place.beside(_COMMON)).root)
    except (ContainerError, AttributeError):
        return None


def _shard(place: Place, name: str) -> LocalFile:
    # The name comes out of a pickle that anybody may have written: it must not lead out of the folder.
    if os.path.basename(name) != name:
        found = f"{_METADATA} names the shard {shown(name)}"
        raise ContainerError(place.path, found=found, expected="a file beside it")
    path = place.beside(name)
    if not os.path.lexists(path):
        raise ContainerError(path, found=f"no such file, but {_METADATA} names it", hint="copy the missing shard")
    return LocalFile(path)


def _chosen(path: str, stored: Mapping[str, StoredTensor], key: str | None) -> dict[str, StoredTensor]:
    """The model's tensors, without the key of the dictionary that they were saved under."""
    tops = dict.fromkeys(tensor.path[0] for tensor in stored.values() if len(tensor.path) > 1)
    top = key or next((name for name in DEFAULT_KEYS if name in tops), None)
    if key is not None and key not in tops:
        raise ContainerError(path, found=f"no --key {shown(key)}: the keys are {listed(tops) or 'none'}")
    if top is not None:
        return {
            ".".join(tensor.path[1:]): tensor
            for tensor in stored.values()
            if len(tensor.path) > 1 and tensor.path[0] == top
        }
    kept = {name: tensor for name, tensor in stored.items() if not _OPTIMIZER.match(name)}
    if not kept:
        raise ContainerError(path, found="no tensors outside of optimizer state", expected="a model's tensors")
    return kept


class _DistributedTensors:
    """A `NamedTensors` over chunks in several files."""

    def __init__(
        self,
        place: Place,
        *,
        stored: Mapping[str, StoredTensor],
        files: Mapping[str, LocalFile],
        metadata: LocalFile,
        config: LocalFile | None,
        common: Mapping[str, Any] | None,
        others: Mapping[str, StoredTensor],
    ) -> None:
        self.path = place.path
        self.config: Mapping[str, Any] | None = read_object(config) if config else common
        self.metadata: Mapping[str, str] = {}
        self._place = place
        self._others = {name: _Entry(stored=one, layer=None) for name, one in others.items()}
        self._files = files
        self._sizes = metadata.size + (config.size if config else 0)
        full_name_of = clean_names(stored, path=place.path)
        self._entries = {
            name: entry
            for clean, full in full_name_of.items()
            for name, entry in _layer_by_layer(clean, stored[full]).items()
        }

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """All tensors of the model."""
        return {
            name: TensorInfo(name, spelling_named(entry.stored.dtype), entry.shape)
            for name, entry in self._entries.items()
        }

    @property
    def bytes_total(self) -> int:
        """Size of all files."""
        return self._sizes + sum(file.size for file in self._files.values())

    @property
    def bytes_read(self) -> int:
        """Bytes read so far, metadata included."""
        return self._sizes + sum(file.bytes_read for file in self._files.values())

    def read(self, name: str, *, rows: slice | None = None) -> "Tensor":
        """One tensor, or a range of its first axis, from the chunks that hold it.

        Raises
        ------
        ContainerError
            A chunk is broken, or the chunks do not cover each element of the tensor once.
        """
        import torch

        entry = self._entries[name]
        shape = entry.stored.shape
        whole = range(shape[0]) if shape else range(1)
        wanted = whole if entry.layer is None else range(entry.layer, entry.layer + 1)
        if rows is not None and entry.layer is None:
            wanted = row_range(shape, rows)
        dtype = getattr(torch, entry.stored.dtype)
        result = torch.empty((len(wanted), *shape[1:]) if shape else (), dtype=dtype)
        # Each element once: counting elements would take two chunks that overlap for a gap that they hide.
        covered = torch.zeros_like(result, dtype=torch.bool)
        for chunk in entry.stored.chunks:
            if (wrong := self._copy(chunk, shape, wanted, into=result, covered=covered)) is not None:
                found = f"a chunk of tensor {shown(name)} {wrong}"
                raise ContainerError(self.path, found=found, hint="save the checkpoint again")
        if not covered.all():
            found = f"the chunks of tensor {shown(name)} cover {int(covered.sum())} of {result.numel()} elements"
            raise ContainerError(self.path, found=found, hint="save the checkpoint again")
        if entry.layer is None:
            return result
        return result[0] if rows is None else result[0][rows].clone()

    unread = ()

    @property
    def further(self) -> list[str]:
        """The state of an optimizer, and whatever else stands beside the model."""
        return [name for name in self._others if name not in self._entries]

    def streams(self, name: str) -> list[Stream]:
        """The values of one tensor, chunk by chunk.

        Raises
        ------
        ContainerError
            A chunk is broken, or the chunks do not cover each element of the tensor once.
        """
        entry = self._entries[name] if name in self._entries else self._others[name]
        chunks = entry.stored.chunks
        if (wrong := what_is_wrong(chunks, entry.stored.shape)) is not None:
            found = f"tensor {shown(name)}: {wrong}"
            raise ContainerError(self.path, found=found, hint="save the checkpoint again")
        dtype = spelling_named(entry.stored.dtype)
        if dtype not in BITS:
            raise ContainerError(self.path, found=f"tensor {shown(name)} has element type {dtype}, not known here")
        # Real and imaginary parts of complex values stand along a further axis.
        axis, as_read = ((2,), "F32") if dtype == "C64" else ((), dtype)
        shape = (*entry.shape, *axis)
        blocks = tuple(self._block(one, entry.layer, dtype, axis) for one in chunks if _holds(one, entry.layer))
        size = prod(shape) * BITS[as_read] // 8
        return [Stream(name=name, dtype=as_read, stored=dtype, shape=shape, bytes=size, blocks=blocks)]

    def _block(self, chunk: Chunk, layer: int | None, dtype: str, axis: tuple[int, ...]) -> Block:
        """A chunk, or the one layer of it that is wanted."""
        sizes = (*chunk.sizes, *axis)
        skipped = 0 if layer is None else (layer - chunk.offsets[0]) * prod(sizes[1:])
        # A shard with nothing but the state of an optimizer may have been left behind: only who asks for it misses it.
        file = self._files.get(chunk.file) or _shard(self._place, chunk.file)
        start = place_in_archive(file, chunk, dtype)
        if start is None:
            whole = tensor_reader(lambda _rows: _load(file, chunk), sizes, size=0)
        else:
            whole = file_reader(file, start=start, dtype="F32" if axis else dtype)

        def read(first: int, count: int, buffer: memoryview) -> "Bytes":
            return whole(skipped + first, count, buffer)

        leading = 0 if layer is None else 1
        offsets = (*chunk.offsets, *(0 for _ in axis))
        return Block(offsets=offsets[leading:], shape=sizes[leading:], read=read)

    def _copy(
        self, chunk: Chunk, shape: tuple[int, ...], wanted: range, *, into: "Tensor", covered: "Tensor"
    ) -> str | None:
        """Copy what a chunk has of the wanted rows, and mark it; returns what is wrong with the chunk, if anything."""
        if not lies_within(chunk, shape):
            return f"at {list(chunk.offsets)} of shape {list(chunk.sizes)} lies outside of its shape {list(shape)}"
        place: tuple[slice, ...] = ()
        taken: tuple[slice, ...] = ()
        if shape:
            first = max(wanted.start, chunk.offsets[0])
            last = min(wanted.stop, chunk.offsets[0] + chunk.sizes[0])
            if first >= last:
                return None
            taken = (slice(first - chunk.offsets[0], last - chunk.offsets[0]),)
            rest = tuple(slice(o, o + s) for o, s in zip(chunk.offsets[1:], chunk.sizes[1:], strict=True))
            place = (slice(first - wanted.start, last - wanted.start), *rest)
        if covered[place].any():
            return f"at {list(chunk.offsets)} overlaps another"
        into[place] = _load(self._files[chunk.file], chunk)[taken]
        covered[place] = True
        return None


def _load(file: LocalFile, chunk: Chunk) -> "Tensor":
    import torch

    data = file.read(chunk.start, chunk.length)
    # FileSystemWriter gives each tensor to torch.save, one archive behind the other in the file.
    try:
        tensor = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle is a random program: it can raise anything
        found = f"bytes {chunk.start} to {chunk.start + chunk.length} are no tensor: {error!s:.80}"
        raise ContainerError(file.name, found=found, hint="copy the shard again") from error
    if not isinstance(tensor, torch.Tensor) or tuple(tensor.shape) != chunk.sizes:
        found = f"bytes {chunk.start} to {chunk.start + chunk.length} hold something else than the metadata say"
        raise ContainerError(file.name, found=found, hint="shards and metadata come from different checkpoints")
    return tensor


def _holds(chunk: Chunk, layer: int | None) -> bool:
    return layer is None or chunk.offsets[0] <= layer < chunk.offsets[0] + chunk.sizes[0]


def _layer_by_layer(name: str, stored: StoredTensor) -> dict[str, _Entry]:
    if not _STACKED.search(name) or not stored.shape:
        return {name: _Entry(stored=stored, layer=None)}
    return {
        _STACKED.sub(rf"\g<before>{layer}.", name, count=1): _Entry(stored=stored, layer=layer)
        for layer in range(stored.shape[0])
    }


DISTCP = Container(
    title="torch distributed checkpoint",
    looks="`.metadata` and `__R_N.distcp`; the pickle in it is read by a restricted reader that runs nothing",
    suffixes=(f"/{_METADATA}",),
    is_certain=_recognises,
    recognises=_recognises,
    open_place=_open,
)
