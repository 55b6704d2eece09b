"""Offline `.wandb` files: records of protobuf in the blocks of a LevelDB log."""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from mhcdiag.runlogs.builder import TableBuilder
from mhcdiag.runlogs.eventfile import fields
from mhcdiag.runlogs.interface import NanFamily, Record, Sample
from mhcdiag.runlogs.records import lost_loss, numbers_of, parse_json
from mhcdiag.runlogs.sources import LogSource

_MAGIC = b":W&B"
_BLOCK = 32768
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


@dataclass(frozen=True, kw_only=True, slots=True)
class WandbFile:
    """The history of a run, one record per call of `log`."""

    name: str = "wandb"
    """Name on the command line and in reports."""
    title: str = "offline run of Weights & Biases (.wandb)"
    """What the format is, in a few words."""
    preferred: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """No names are fixed: words decide."""
    nan_family: NanFamily = "plain"
    """NaN stand as they are."""

    def fits(self, sample: Sample) -> bool:
        """Say whether a file is in this format.

        Arguments: sample: of the file.
        """
        return sample.head.startswith(_MAGIC)

    def read(self, source: LogSource, table: TableBuilder) -> None:
        """Read a whole file; of one that is cut short or damaged, the records before that.

        Arguments: source: the opened file; table: takes the records.
        """
        number = 0
        try:
            for message in _messages(source):
                for key, value in fields(message):
                    if key == 2 and isinstance(value, bytes):
                        number += 1
                        record = _history(value)
                        table.add(Record(line=number, values=numbers_of(record), garbled=lost_loss(record)))
        except ValueError as error:
            table.notes.append(f"the file is damaged or cut short ({error}): read up to record {number:,}")
        table.lines = number


def _messages(source: LogSource) -> Iterator[bytes]:
    """Join the fragments of the log; a record may span blocks."""
    parts: list[bytes] = []
    for block in _log_blocks(source):
        position = 0
        while position + 7 <= len(block):
            size, kind = struct.unpack_from("<HB", block, position + 4)
            if kind == 0:
                break
            end = position + 7 + size
            if end > len(block) or kind > _LAST:
                raise ValueError("a fragment that does not end")
            parts = [] if kind in (_FULL, _FIRST) else parts
            parts.append(block[position + 7 : end])
            if kind in (_FULL, _LAST):
                yield b"".join(parts)
            position = end


def _log_blocks(source: LogSource) -> Iterator[bytes]:
    rest = b""
    first = True
    for piece in source.blocks():
        rest += piece
        while len(rest) >= _BLOCK:
            yield rest[7 if first else 0 : _BLOCK]
            rest, first = rest[_BLOCK:], False
    yield rest[7 if first else 0 :]


def _history(message: bytes) -> dict[str, object]:
    """Return one history record: its items carry a name (or a path of names) and a JSON value."""
    record: dict[str, object] = {}
    for number, item in fields(message):
        if number == 1 and isinstance(item, bytes):
            names: list[str] = []
            value: object = None
            for part, content in fields(item):
                if part in (1, 2) and isinstance(content, bytes):
                    names.append(content.decode("utf-8", "replace"))
                elif part == 16 and isinstance(content, bytes):
                    value = parse_json(content)
            record["/".join(names)] = value
    return record


WANDB_FILE = WandbFile()
