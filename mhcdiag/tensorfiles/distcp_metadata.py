"""The `.metadata` of a torch distributed checkpoint, read without running any code that it asks for.

It is a pickle, and torch's own reader executes what a pickle holds. This reader knows the few classes that a
checkpoint's metadata is made of and replaces each by something inert; whatever else the pickle asks for is refused.
"""

import io
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from mhcdiag.errors import ContainerError
from mhcdiag.tensorfiles.names import shown
from mhcdiag.tensorfiles.stores.local import LocalFile

_LIMIT = 1_000_000_000
"""Longest metadata in bytes: the pickle is read into memory as a whole, some hundred bytes a chunk."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunk:
    """A rectangular part of a tensor, and where its bytes stand."""

    offsets: tuple[int, ...]
    """Where it begins in the tensor, per axis."""
    sizes: tuple[int, ...]
    """Its shape."""
    file: str
    """Name of the file beside `.metadata`."""
    start: int
    """First byte in the file."""
    length: int
    """Number of bytes, which are a file of `torch.save` of their own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredTensor:
    """One tensor of the checkpoint."""

    dtype: str
    """As torch names it: "float32"."""
    shape: tuple[int, ...]
    chunks: tuple[Chunk, ...]
    path: tuple[str, ...]
    """Keys that lead to it in the saved dictionary; empty where the checkpoint does not say."""


class _Record:
    """Stands for a dataclass of torch: keeps the state and does nothing with it."""

    def __init__(self, *arguments: Any) -> None:
        self.state: Any = arguments

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def field(self, name: str) -> Any:
        """One attribute; None where it is missing."""
        return self.state.get(name) if isinstance(self.state, dict) else None


class _TensorRecord(_Record):
    pass


class _IndexRecord(_Record):
    pass


class _MemoryFormat(_Record):
    """Stands for an enumeration; nothing depends on its value."""


def _member(enumeration: object, name: object) -> _MemoryFormat:
    """Stands for `getattr`, with which Python 3.11.2 (Debian 12) pickles members of enumerations; for no other use."""
    if enumeration is not _MemoryFormat or not isinstance(name, str):
        raise pickle.UnpicklingError("builtins.getattr")
    return _MemoryFormat(name)


_METADATA = "torch.distributed.checkpoint.metadata"
# What torch's own writers ask for, and nothing else. Python 3.13 pickles paths as classes of pathlib._local.
_KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
    (_METADATA, "Metadata"): _Record,
    (_METADATA, "MetadataIndex"): _IndexRecord,
    (_METADATA, "TensorStorageMetadata"): _TensorRecord,
    (_METADATA, "BytesStorageMetadata"): _Record,
    (_METADATA, "ChunkStorageMetadata"): _Record,
    (_METADATA, "TensorProperties"): _Record,
    (_METADATA, "StorageMeta"): _Record,
    (_METADATA, "_MEM_FORMAT_ENCODING"): _MemoryFormat,
    ("builtins", "getattr"): _member,
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"): _Record,
    ("torch", "Size"): tuple,
    ("torch.serialization", "_get_layout"): str,
    ("collections", "OrderedDict"): dict,
    ("pathlib", "PosixPath"): PurePosixPath,
    ("pathlib._local", "PosixPath"): PurePosixPath,
}


class _RestrictedUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Something inert for what a checkpoint's metadata is made of; nothing else."""
        known = _KNOWN.get((module, name))
        if known is not None:
            return known
        if module == "torch" and name.isidentifier() and not name.startswith("_") and name.islower():
            return f"torch.{name}"  # an element type, which pickles as a name; as text it can be called by nobody
        raise pickle.UnpicklingError(f"{module}.{name}")


def read_metadata(path: str) -> dict[str, StoredTensor]:
    """All tensors by fully qualified name.

    Raises
    ------
    ContainerError
        The file is damaged, asks for anything else than metadata, or contradicts itself.
    """
    source = LocalFile(path)
    if source.size > _LIMIT:
        raise ContainerError(path, found=f"{source.size} bytes", expected=f"metadata of at most {_LIMIT}")
    try:
        root = _RestrictedUnpickler(io.BytesIO(source.read(0, source.size))).load()
    except pickle.UnpicklingError as error:
        raise _refusal(path, str(error)) from error
    except Exception as error:  # a damaged pickle is a random program: it can raise anything
        found = f"its pickle cannot be read: {type(error).__name__}: {error!s:.100}"
        raise ContainerError(path, found=found, expected="metadata of a torch distributed checkpoint") from error
    if not isinstance(root, _Record) or not isinstance(root.field("state_dict_metadata"), dict):
        raise ContainerError(path, found="a pickle of something else", expected="a torch distributed checkpoint")
    try:
        return _stored(root)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        found = f"metadata without what they should hold: {type(error).__name__}: {error!s:.100}"
        raise ContainerError(path, found=found, hint="save the checkpoint again") from error


def _refusal(path: str, message: str) -> ContainerError:
    if "." in message and " " not in message:
        return ContainerError(
            path,
            found=f"the pickle asks for {shown(message)}, which could run code; nothing was run",
            expected="the classes of a checkpoint's metadata",
            hint="do not use this checkpoint unless you know who wrote it",
        )
    return ContainerError(path, found=f"a damaged pickle: {message:.100}", hint="copy or download the file again")


def _stored(root: _Record) -> dict[str, StoredTensor]:
    places: dict[tuple[str, tuple[int, ...]], _Record] = {}
    for index, info in root.field("storage_data").items():
        offset = index.field("offset")
        places[index.field("fqn"), () if offset is None else tuple(offset)] = info
    paths: Mapping[str, Any] = root.field("planner_data") or {}
    found = {}
    for name, record in root.field("state_dict_metadata").items():
        if not isinstance(record, _TensorRecord):
            continue  # bytes: options, steps, random states
        path = paths.get(name) if isinstance(paths, dict) else None
        found[str(name)] = StoredTensor(
            dtype=str(record.field("properties").state[0]).removeprefix("torch."),
            shape=tuple(map(int, record.field("size"))),
            chunks=tuple(_chunk(str(name), chunk, places) for chunk in record.field("chunks")),
            path=tuple(map(str, path)) if isinstance(path, tuple | list) else (),
        )
    return found


def _chunk(name: str, chunk: _Record, places: Mapping[tuple[str, tuple[int, ...]], _Record]) -> Chunk:
    offsets, sizes = (tuple(map(int, chunk.field(field))) for field in ("offsets", "sizes"))
    info = places[name, offsets]
    # An extension of torch's writer (_extension.py there) may have compressed the bytes: they are no torch.save then.
    if info.field("transform_descriptors"):
        raise ValueError(f"{name} was stored through {info.field('transform_descriptors')}")
    return Chunk(
        offsets=offsets,
        sizes=sizes,
        file=str(info.field("relative_path")),
        start=int(info.field("offset")),
        length=int(info.field("length")),
    )
