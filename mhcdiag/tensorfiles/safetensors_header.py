"""The header of a safetensors file, checked before one tensor is trusted.

Format: 8 bytes, little-endian: length N of the header; N bytes: a JSON object from tensor names to `dtype`,
`shape` and `data_offsets` (begin and end, counted from the end of the header), with an optional
string-to-string `__metadata__`; then the data, which the tensors cover without gaps or overlaps to the last
byte of the file.

A large checkpoint has a hundred thousand tensors of which few are read: the header is kept as columns, and
checked column by column.
"""

import math
from array import array
from collections.abc import Collection
from dataclasses import dataclass
from itertools import chain, starmap
from operator import gt, itemgetter
from sys import intern
from typing import Any, NamedTuple, NoReturn

from mhcdiag.errors import ContainerError
from mhcdiag.tensorfiles.element_types import BITS
from mhcdiag.tensorfiles.names import shown
from mhcdiag.tensorfiles.places import HEADER_LIMIT, refuse_other_content
from mhcdiag.tensorfiles.stores.interface import ByteSource
from mhcdiag.tensorfiles.strict_json import parse_object

_METADATA = "__metadata__"
_ENTRY = '{"dtype": a string, "shape": [counts], "data_offsets": [begin, end]}, 0 <= begin <= end'
_FIELDS = ("dtype", "shape", "data_offsets")
_TRUNCATED = "copy or download the file again: it is incomplete"
_REWRITE = "write the file again with the safetensors library"


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """The checked header of one file; tensor i of the file stands at index i of each column."""

    source: ByteSource
    """The file."""
    data_start: int
    """Byte of the file at which the data begin: the end of the header."""
    rows: dict[str, int]
    """Index of each tensor in the columns by name, in the order of the header."""
    dtypes: list[str]
    """Element types."""
    shapes: list[tuple[int, ...]]
    """Shapes in elements."""
    begins: "array[int]"
    """First byte of each tensor, counted from `data_start`."""
    ends: "array[int]"
    """First byte after each tensor, counted likewise."""
    metadata: dict[str, str]
    """The file's own strings; empty where it has none."""


class _Columns(NamedTuple):
    """The three fields of all tensors, as they stand in the JSON."""

    dtypes: list[Any]
    shapes: list[Any]
    offsets: list[Any]


def read_header(source: ByteSource) -> Header:
    """Read and check the header of one file: its first 8 + N bytes and no others.

    Raises
    ------
    ContainerError
        Anything in the header contradicts the format or the size of the file.
    """
    length = _header_length(source)
    raw = source.read(8, length)
    if raw[:1] != b"{":
        _refuse_as_safetensors(source, f"a header that begins with {bytes(raw[:8])!r}", "'{'")
    fields = parse_object(raw, path=source.name, what="the header", unique=False)
    metadata = fields.pop(_METADATA, None)
    _refuse_malformed_metadata(source, metadata)
    columns = _well_formed_columns(source, fields)
    if not _keys_are_unique(raw, fields, metadata):
        parse_object(raw, path=source.name, what="the header")
    if b"\\u" in raw:
        _refuse_lone_surrogates(source, fields)
    offsets = array("q", chain.from_iterable(columns.offsets))
    header = Header(
        source=source,
        data_start=8 + length,
        rows=dict(zip(fields, range(len(fields)), strict=True)),
        dtypes=list(map(intern, columns.dtypes)),
        shapes=list(map(tuple, columns.shapes)),
        begins=offsets[::2],
        ends=offsets[1::2],
        metadata=metadata or {},
    )
    _refuse_wrong_sizes(header)
    _refuse_gaps_and_overlaps(header)
    return header


def _header_length(source: ByteSource) -> int:
    if source.size < 8:
        found = f"a file of {source.size} bytes, shorter than the length of a header"
        _refuse_as_safetensors(source, found, "a safetensors file", _TRUNCATED)
    length = int.from_bytes(source.read(0, 8), "little")
    if length > HEADER_LIMIT:
        found = f"a header length of {length} bytes"
        _refuse_as_safetensors(source, found, f"a safetensors file with at most {HEADER_LIMIT}")
    if length > source.size - 8:
        found = f"a header of {length} bytes in a file of {source.size}"
        _refuse_as_safetensors(source, found, f"at least {8 + length} bytes", _TRUNCATED)
    if length < 2:
        _refuse_as_safetensors(source, f"a header of {length} bytes", "a JSON object")
    return length


def _refuse_as_safetensors(source: ByteSource, found: str, expected: str, hint: str = "") -> NoReturn:
    """Say what the file is if that can be told, else what is wrong with it as a safetensors file."""
    head = bytes(source.read(0, min(64, source.size)))
    refuse_other_content(source.name, head, expected="a safetensors file")
    raise ContainerError(source.name, found=found, expected=expected, hint=hint)


def _refuse_malformed_metadata(source: ByteSource, metadata: Any) -> None:
    if metadata is not None and (
        type(metadata) is not dict or not all(type(text) is str for text in metadata.values())
    ):
        raise ContainerError(source.name, found=f"{_METADATA} is not an object of strings", hint=_REWRITE)


def _well_formed_columns(source: ByteSource, fields: dict[str, Any]) -> _Columns:
    columns = _columns(fields.values())
    if columns is None:
        name, entry = next(item for item in fields.items() if _columns([item[1]]) is None)
        raise _wrong(source, name, f"its entry is {entry!r:.90}", _ENTRY)
    return columns


def _columns(entries: Collection[Any]) -> _Columns | None:
    """The fields of all entries; None where one is missing or has a value of the wrong kind."""
    try:
        columns = _Columns(*(list(map(itemgetter(field), entries)) for field in _FIELDS))
    except (KeyError, TypeError):  # a field is missing, or the entry is no object
        return None
    dtypes, shapes, offsets = columns
    if not {*map(type, dtypes)} <= {str} or not {*map(type, chain(shapes, offsets))} <= {list}:
        return None
    numbers = list(chain(*shapes, *offsets))
    # By type and not isinstance(), since `true` in JSON is an int in Python.
    if not {*map(type, numbers)} <= {int} or not {*map(len, offsets)} <= {2}:
        return None
    if min(numbers, default=0) < 0 or max(numbers, default=0) >= 2**63 or any(starmap(gt, offsets)):
        return None
    return columns


def _keys_are_unique(raw: bytearray, fields: dict[str, Any], metadata: dict[str, str] | None) -> bool:
    """Whether the parser dropped no key that stood twice; False also where this shortcut cannot tell.

    Each string in valid JSON has two quotation marks of its own, so the text has at least two for each
    string that was parsed, and two more for each key that was dropped. A well-formed tensor with three fields
    has five strings: name, three keys, dtype. Equality therefore proves that nothing was dropped, and costs
    less than to look at the pairs of each object.
    """
    strings = 5 * len(fields) + (0 if metadata is None else 1 + 2 * len(metadata))
    return sum(map(len, fields.values())) == 3 * len(fields) and raw.count(b'"') == 2 * strings


def _refuse_lone_surrogates(source: ByteSource, fields: dict[str, Any]) -> None:
    for name in fields:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise _wrong(source, name, "half of a surrogate pair in its name", "Unicode") from error


def _refuse_wrong_sizes(header: Header) -> None:
    columns = zip(header.rows, header.dtypes, header.shapes, header.begins, header.ends, strict=True)
    for name, dtype, shape, begin, end in columns:
        # An unknown type may be new and right: it is refused when somebody wants to read it.
        bits = BITS.get(dtype)
        if bits is not None and math.prod(shape) * bits != 8 * (end - begin):
            found = f"{end - begin} bytes for {dtype} of shape {list(shape)!r:.60}"
            raise _wrong(header.source, name, found, f"{math.prod(shape) * bits / 8:.15g} bytes")


def _refuse_gaps_and_overlaps(header: Header) -> None:
    begins, ends, size = header.begins, header.ends, header.source.size
    # Most writers list tensors in the order of their data: then two columns say it all.
    if begins and (begins[0] != 0 or begins[1:] != ends[:-1]):
        _refuse_gaps_in_another_order(header)
    position = header.data_start + max(ends, default=0)
    if position > size:
        found = f"the data are truncated: a file of {size} bytes"
        raise ContainerError(header.source.name, found=found, expected=f"{position}", hint=_TRUNCATED)
    if position < size:
        found = f"{size - position} bytes after the last tensor"
        raise ContainerError(header.source.name, found=found, expected=f"a file of {position}", hint=_REWRITE)


def _refuse_gaps_in_another_order(header: Header) -> None:
    position = 0
    for begin, end, name in sorted(zip(header.begins, header.ends, header.rows, strict=True)):
        if begin != position:
            what = "overlaps the tensor before it" if begin < position else "leaves a gap before it"
            found = f"its data begin at byte {begin} of the data, which {what}"
            raise _wrong(header.source, name, found, f"byte {position}")
        position = end


def _wrong(source: ByteSource, name: str, found: str, expected: str) -> ContainerError:
    return ContainerError(source.name, found=f"tensor {shown(name)}: {found}", expected=expected, hint=_REWRITE)
