"""Where the values of mapped tensors stand in a zip archive of `torch.save`.

torch maps the whole file and makes each storage a part of that memory. Reading values there would let all pages of the
file count as memory of this process; who looks at every value reads them from the file, for which it needs their place.
"""

import struct
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from io import RawIOBase
from typing import IO

_LOCAL_HEADER = 30
"""Bytes of a record's own header before its name (APPNOTE.TXT of the zip format, 4.3.7)."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record of tensor values."""

    start: int
    """First byte of its data in the file."""
    length: int


def value_records(path: str) -> list[Record]:
    """All records of tensor values in an archive; none where their bytes are not those that tensors hold."""
    with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        entries = archive.infolist()
        order = next((entry for entry in entries if entry.filename.endswith("/byteorder")), None)
        if order is not None and archive.read(order) != b"little":
            return []  # torch has swapped the bytes in memory
        found = []
        for entry in entries:
            if entry.filename.partition("/")[2].startswith("data/"):
                found.append(Record(start=data_start(file, entry), length=entry.file_size))
    return found


def data_start(file: IO[bytes] | RawIOBase, entry: zipfile.ZipInfo) -> int:
    """First byte of a record's data, counted from the beginning of the archive."""
    # The central directory has the name's length too, but not that of the padding, which aligns the data.
    file.seek(entry.header_offset + _LOCAL_HEADER - 4)
    name, extra = struct.unpack("<HH", file.read(4) or b"")
    return entry.header_offset + _LOCAL_HEADER + int(name) + int(extra)


def beginning_of_map(records: Iterable[Record], storages: Iterable[tuple[int, int]]) -> int | None:
    """The address at which a file is mapped; None where no address puts every storage on a record.

    Parameters
    ----------
    records
        Of the file.
    storages
        Address and length in bytes of the storages of its tensors; some records may belong to none of them.
    """
    length_at = {record.start: record.length for record in records}
    wanted = sorted((address, length) for address, length in storages if length)
    if not wanted:
        return None
    first = wanted[0][0]
    for start in sorted(length_at):
        if all(length_at.get(address - first + start, -1) >= length for address, length in wanted):
            return first - start
    return None
