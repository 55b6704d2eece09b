"""The header of a GGUF file (versions 2 and 3, little-endian): metadata, then names, shapes, types and offsets.

The format is that of ggml (docs/gguf.md there); llama.cpp's converters write version 3. Version 1 had counts of 32
bits and is refused.

The `gguf` package makes an array of every string of the vocabulary, which takes seconds; this reads what is needed.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

from mhcdiag.errors import ContainerError
from mhcdiag.tensorfiles.names import shown
from mhcdiag.tensorfiles.stores.interface import ByteSource

MAGIC = b"GGUF"
_BLOCK = 1 << 20
"""Bytes read at once: a header of one model takes a few, most of them for the words of its vocabulary."""
_LONGEST = 1 << 30
"""Longest string or array in bytes: a damaged length must not ask for all memory."""
_ALIGNMENT = 32
"""GGUF_DEFAULT_ALIGNMENT of ggml, where the metadata name none."""
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9
_MOST_AXES = 8
"""Twice what ggml itself takes (GGML_MAX_DIMS is 4): more is damage."""


@dataclass(frozen=True, slots=True)
class GgmlType:
    """One element type of ggml."""

    name: str
    block: int
    """Elements per block."""
    bytes: int
    """Bytes per block."""


TYPES = {
    0: GgmlType("F32", 1, 4), 1: GgmlType("F16", 1, 2), 30: GgmlType("BF16", 1, 2), 28: GgmlType("F64", 1, 8),
    24: GgmlType("I8", 1, 1), 25: GgmlType("I16", 1, 2), 26: GgmlType("I32", 1, 4), 27: GgmlType("I64", 1, 8),
    2: GgmlType("Q4_0", 32, 18), 3: GgmlType("Q4_1", 32, 20), 6: GgmlType("Q5_0", 32, 22), 7: GgmlType("Q5_1", 32, 24),
    8: GgmlType("Q8_0", 32, 34), 10: GgmlType("Q2_K", 256, 84), 11: GgmlType("Q3_K", 256, 110),
    12: GgmlType("Q4_K", 256, 144), 13: GgmlType("Q5_K", 256, 176), 14: GgmlType("Q6_K", 256, 210),
}  # fmt: skip
"""Types by number; others are listed by number and cannot be read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GgufTensor:
    """One tensor."""

    shape: tuple[int, ...]
    """Slowest axis first, the other way round than in the file."""
    type: int
    """Number of its ggml type."""
    start: int
    """First byte in the file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GgufHeader:
    """What stands before the data."""

    metadata: dict[str, Any]
    """Scalars and strings; arrays are left out."""
    tensors: dict[str, GgufTensor]
    """By name, in file order."""


class _Cursor:
    """Reads on through the file in blocks."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._data = bytearray()
        self.position = 0

    def take(self, size: int) -> bytes:
        """The next `size` bytes.

        Raises
        ------
        ContainerError
            The file ends before, or the length is beyond belief.
        """
        if size > _LONGEST or self.position + size > self._source.size:
            raise _damaged(self._source, f"{size} bytes wanted at byte {self.position} of {self._source.size}")
        while len(self._data) < self.position + size:
            left = self._source.size - len(self._data)
            self._data += self._source.read(len(self._data), min(left, max(_BLOCK, size)))
        found = bytes(self._data[self.position : self.position + size])
        self.position += size
        return found

    def number(self, form: str) -> Any:
        """The next number, in a format of `struct`."""
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def text(self) -> str:
        """The next string: its length in bytes, then UTF-8."""
        return self.take(self.number("<Q")).decode("utf-8", "backslashreplace")


def read_gguf_header(source: ByteSource) -> GgufHeader:
    """Read and check the header.

    Raises
    ------
    ContainerError
        The file is of another kind, version or byte order, truncated, or contradicts itself.
    """
    cursor = _Cursor(source)
    if source.size < len(MAGIC) or cursor.take(4) != MAGIC:
        raise ContainerError(source.name, found="no GGUF file", expected="the bytes GGUF at its beginning")
    version = cursor.number("<I")
    if version not in (2, 3):
        # The number 3 in the other order of bytes has zeros in its lower half.
        order = " (a big-endian file)" if version & 0xFFFF == 0 else ""
        raise ContainerError(source.name, found=f"GGUF version {version}{order}", expected="version 2 or 3")
    tensors, pairs = cursor.number("<Q"), cursor.number("<Q")
    metadata: dict[str, Any] = {}
    for _ in range(pairs):
        key = cursor.text()
        value = _value(cursor, source, cursor.number("<I"))
        if value is not None:
            metadata[key] = value
    found: dict[str, GgufTensor] = {}
    for _ in range(tensors):
        name = cursor.text()
        if name in found:
            raise _damaged(source, f"tensor {shown(name)} twice")
        found[name] = _tensor(cursor, source, name)
    alignment = metadata.get("general.alignment", _ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
        raise _damaged(source, f"an alignment of {alignment!r}")
    start = -(-cursor.position // alignment) * alignment
    return GgufHeader(metadata=metadata, tensors=_placed(source, found, start))


def _value(cursor: _Cursor, source: ByteSource, kind: int) -> Any:
    """A scalar or string; None for an array, which is skipped."""
    if kind in _SCALARS:
        return cursor.number(_SCALARS[kind])
    if kind == _STRING:
        return cursor.text()
    if kind != _ARRAY:
        raise _damaged(source, f"a value of type {kind}")
    item, count = cursor.number("<I"), cursor.number("<Q")
    if item in _SCALARS:
        cursor.take(count * struct.calcsize(_SCALARS[item]))
        return None
    skip: Callable[[], Any] = cursor.text if item == _STRING else lambda: _value(cursor, source, item)
    for _ in range(count):
        skip()
    return None


def _tensor(cursor: _Cursor, source: ByteSource, name: str) -> GgufTensor:
    axes = cursor.number("<I")
    if axes > _MOST_AXES:
        raise _damaged(source, f"tensor {shown(name)} with {axes} axes")
    shape = tuple(cursor.number("<Q") for _ in range(axes))[::-1]
    return GgufTensor(shape=shape, type=cursor.number("<I"), start=cursor.number("<Q"))


def _placed(source: ByteSource, tensors: dict[str, GgufTensor], start: int) -> dict[str, GgufTensor]:
    placed = {}
    for name, tensor in tensors.items():
        moved = GgufTensor(shape=tensor.shape, type=tensor.type, start=start + tensor.start)
        size = size_of(moved)
        if size is not None and moved.start + size > source.size:
            raise _damaged(source, f"tensor {shown(name)} ends at byte {moved.start + size} of {source.size}")
        placed[name] = moved
    return placed


def size_of(tensor: GgufTensor) -> int | None:
    """Bytes of a tensor; None for an unknown type."""
    kind = TYPES.get(tensor.type)
    return None if kind is None else prod(tensor.shape) // kind.block * kind.bytes


def _damaged(source: ByteSource, found: str) -> ContainerError:
    return ContainerError(source.name, found=found, expected="a complete GGUF file", hint="download the file again")
