"""The chunks of a torch distributed checkpoint: whether they make up a tensor, and where the values of one stand.

`FileSystemWriter` gives each chunk to `torch.save`, one zip archive behind the other in the file (torch 2.13). A chunk
may be larger than memory; for a scan of all values its archive is read like any other, and its pickle, which says in
which order the values stand, by a reader that runs nothing.
"""

import io
import pickle
import zipfile
from collections.abc import Callable, Sequence
from itertools import combinations
from math import prod
from typing import Any

from mhcdiag.tensorfiles.distcp_metadata import Chunk
from mhcdiag.tensorfiles.element_types import BITS
from mhcdiag.tensorfiles.stores.local import LocalFile
from mhcdiag.tensorfiles.torch_places import data_start

_MOST_PAIRS = 2000
"""Chunks up to which every pair is held against each other; of more, only their sizes are added up."""


def lies_within(chunk: Chunk, shape: tuple[int, ...]) -> bool:
    """Whether a chunk is a part of a tensor of this shape."""
    if not len(chunk.offsets) == len(chunk.sizes) == len(shape):
        return False
    return all(
        min(offset, size) >= 0 and offset + size <= length
        for offset, size, length in zip(chunk.offsets, chunk.sizes, shape, strict=True)
    )


def what_is_wrong(chunks: Sequence[Chunk], shape: tuple[int, ...]) -> str | None:
    """Why chunks do not cover each element of a tensor once, as a clause; None where they do."""
    for chunk in chunks:
        if not lies_within(chunk, shape):
            return (
                f"a chunk at {list(chunk.offsets)} of shape {list(chunk.sizes)} lies outside of its shape {list(shape)}"
            )
    covered = sum(prod(chunk.sizes) for chunk in chunks)
    if covered != prod(shape):
        return f"its chunks hold {covered} of {prod(shape)} elements"
    if len(chunks) <= _MOST_PAIRS:
        for one, other in combinations([chunk for chunk in chunks if prod(chunk.sizes)], 2):
            if _overlap(one, other):
                return f"its chunks at {list(one.offsets)} and {list(other.offsets)} overlap"
    return None


def _overlap(one: Chunk, other: Chunk) -> bool:
    return all(
        max(start, begin) < min(start + size, begin + length)
        for start, size, begin, length in zip(one.offsets, one.sizes, other.offsets, other.sizes, strict=True)
    )


def place_in_archive(file: LocalFile, chunk: Chunk, dtype: str) -> int | None:
    """First byte in the file of a chunk's values; None where they do not stand there plainly, in order.

    Parameters
    ----------
    dtype
        Element type of the tensor, in the spelling of safetensors.
    """
    window = _Window(file, chunk.start, chunk.length)
    try:
        with zipfile.ZipFile(window) as archive:
            records = {entry.filename.partition("/")[2]: entry for entry in archive.infolist()}
            if "byteorder" in records and archive.read(records["byteorder"]) != b"little":
                return None
            key, offset, sizes, strides = _Description(io.BytesIO(archive.read(records["data.pkl"]))).load()
            values = records[f"data/{key}"]
    except Exception:  # noqa: BLE001 - damaged, or of another making: who reads it as a whole says what is wrong
        return None
    needed = (offset + prod(chunk.sizes)) * BITS[dtype] // 8
    plain = values.compress_type == zipfile.ZIP_STORED and values.file_size >= needed
    if not plain or tuple(sizes) != chunk.sizes or not _in_order(chunk.sizes, strides):
        return None
    return int(chunk.start + data_start(window, values) + offset * BITS[dtype] // 8)


def _in_order(sizes: tuple[int, ...], strides: Sequence[int]) -> bool:
    """Whether the last axis runs fastest and nothing is left out; an axis of length 1 has any stride."""
    step = 1
    for size, stride in zip(reversed(sizes), reversed(strides), strict=True):
        if size != 1 and stride != step:
            return False
        step *= size
    return True


class _Window(io.RawIOBase):
    """A part of a file, seen as a file."""

    def __init__(self, file: LocalFile, start: int, length: int) -> None:
        self._file = file
        self._start = start
        self._length = length
        self._position = 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._length}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        count = max(0, min(len(buffer), self._length - self._position))
        buffer[:count] = self._file.read(self._start + self._position, count)
        self._position += count
        return count


class _Description(pickle.Unpickler):
    """Key of the storage, offset in it, sizes and strides of the one tensor that a pickle of `torch.save` describes."""

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        """Something inert for what describes a plain tensor; nothing else."""
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda key, offset, sizes, strides, *_rest: (key, int(offset), sizes, strides)
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        if module == "torch" and name.endswith("Storage"):
            return str
        raise pickle.UnpicklingError(f"{module}.{name}")

    def persistent_load(self, storage: Any) -> str:
        """The key of a storage."""
        return str(storage[2])
