"""TensorBoard event files; a folder of them is one run that was started several times.

Framed protobuf, read without TensorBoard and without dropping points, as its own loader does with long series. Most
events of a file differ only in time, step and value. Each shape of event is parsed once; after that, the bytes around
the value are looked up.
"""

import struct
from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mhcdiag.runlogs.interface import FileFormat, LogSample, RecordTable
from mhcdiag.runlogs.protobuf import Value, fields, read_varint
from mhcdiag.runlogs.sources import LogSource, open_source

LONGEST_EVENT = 1 << 30
"""Bytes; a longer event is a sign of damage."""

_LENGTH, _SINGLE, _TWICE = struct.Struct("<Q"), struct.Struct("<f"), struct.Struct("<d")
# DataType of TensorFlow's tensors.
_FLOAT, _DOUBLE = 1, 2
# Tensors of one element that are no scalars: since TensorFlow 2 all kinds of data travel as tensors, with the name of
# the plugin beside them.
_PLUGINS = (b"hparams", b"images", b"histograms", b"text", b"pr_curves")


class ScalarReader:
    """Collects the scalars of event files in the order of writing."""

    def __init__(self) -> None:
        self.tags: list[str] = []
        """Names of the series, in order of appearance."""
        self.tag = array("q")
        """Index into `tags` of each value."""
        self.step = array("q")
        """Step of each value."""
        self._values = bytearray()
        self._times = bytearray()
        self._doubles: dict[int, float] = {}
        self._index: dict[str, int] = {}
        self._slots: dict[int, int] = {}
        self._shapes: dict[bytes, int] = {}

    def read(self, blocks: Iterator[bytes]) -> str:
        """Read one file; return what was wrong with its end, or an empty text.

        Parameters
        ----------
        blocks
            The bytes of the file, cut anywhere.
        """
        rest = b""
        try:
            for block in blocks:
                data = rest + block if rest else block
                rest = data[self._read_block(data) :]
        except ValueError as error:
            return f"damaged: {error}"
        return "the last event is half-written" if rest else ""

    def _read_block(self, data: bytes) -> int:
        """Read the whole events of a block; return where the next one begins.

        This loop sees every event: shapes that were parsed before are taken here, all others go to `_parse`.
        """
        slots, shapes, length_at = self._slots, self._shapes, _LENGTH.unpack_from
        add_tag, add_step, values, times = self.tag.append, self.step.append, self._values, self._times
        position, size = 0, len(data)
        # A TFRecord: length (8 bytes), its checksum (4), the event, its checksum (4). Checksums are not computed:
        # damage shows by lengths and wire types.
        while position + 12 <= size:
            (length,) = length_at(data, position)
            start = position + 12
            end = start + length
            if length > LONGEST_EVENT:
                raise ValueError("an event of impossible length")
            if end + 4 > size:
                break
            position = end + 4
            if data[start] != 0x09:  # field 1, eight bytes: the wall time, since fields are written in order
                continue
            body, step = start + 9, 0
            if data[body] == 0x10:  # field 2, a number: the step, left out where it is 0
                step, body = read_varint(data, body + 1)
            slot = slots.get(end - body)
            tag = None if slot is None else shapes.get(data[body : body + slot] + data[body + slot + 4 : end])
            if slot is None or tag is None:
                self._parse(data[start:end], body - start, step)
                continue
            add_tag(tag)
            add_step(step if step < 1 << 63 else step - (1 << 64))
            times += data[start + 1 : start + 9]
            values += data[body + slot : body + slot + 4]
        return position

    @property
    def values(self) -> NDArray[np.float64]:
        """All values, in order of writing."""
        values = np.frombuffer(self._values, dtype="<f4").astype(np.float64)
        # Nearly all values are single floats: the few doubles that none can hold are kept apart.
        values[list(self._doubles)] = list(self._doubles.values())
        return values

    @property
    def times(self) -> NDArray[np.float64]:
        """Wall time of each value, seconds."""
        return np.frombuffer(self._times, dtype="<f8")

    def _take(self, tag: int, step: int, event: bytes, value: float) -> None:
        self.tag.append(tag)
        self.step.append(step if step < 1 << 63 else step - (1 << 64))
        self._times += event[1:9]
        self._values += _single(value)
        if _SINGLE.unpack(_single(value))[0] != value:
            self._doubles[len(self.tag) - 1] = value

    def _parse(self, event: bytes, position: int, step: int) -> None:
        found: list[tuple[int, float]] = []
        for number, content in fields(event):
            if number == 5 and isinstance(content, bytes):
                found.extend(self._summary(content))
        for tag, value in found:
            self._take(tag, step, event, value)
        if len(found) == 1:
            self._learn(event, position, *found[0])

    def _learn(self, event: bytes, position: int, tag: int, value: float) -> None:
        """Remember where the value stands, if its four bytes occur once.

        What is learned is the event without these four bytes: the next event of the same length and with the same other
        bytes is the same tag with another value. Zero is not learned from, since its bytes occur elsewhere.
        """
        try:
            single = _SINGLE.pack(value)
        except OverflowError:
            return
        slot = event.rfind(single, position)
        if value and slot >= 0 and event.find(single, position) == slot and _SINGLE.unpack(single)[0] == value:
            size = len(event) - position
            if self._slots.setdefault(size, slot - position) == slot - position:
                self._shapes[event[position:slot] + event[slot + 4 :]] = tag

    def _summary(self, summary: bytes) -> Iterator[tuple[int, float]]:
        for number, content in fields(summary):
            if number != 1 or not isinstance(content, bytes):
                continue
            parts: dict[int, Value] = dict(fields(content))
            name = parts.get(1)
            value = _scalar(parts)
            if value is not None and isinstance(name, bytes) and not _other_plugin(parts.get(9)):
                text = name.decode("utf-8", "replace")
                if text not in self._index:
                    self._index[text] = len(self.tags)
                    self.tags.append(text)
                yield self._index[text], value


def _single(value: float) -> bytes:
    try:
        return _SINGLE.pack(value)
    except OverflowError:
        return _SINGLE.pack(0.0)


def _scalar(parts: dict[int, Value]) -> float | None:
    """Return the value of a summary: the old single float, or a tensor of one element."""
    simple, tensor = parts.get(2), parts.get(8)
    if isinstance(simple, bytes) and len(simple) == 4:
        return float(_SINGLE.unpack(simple)[0])
    if not isinstance(tensor, bytes):
        return None
    inside = dict(fields(tensor))
    kind = inside.get(1, 0)
    raw = inside.get(4) or inside.get(5 if kind == _FLOAT else 6)
    if kind == _FLOAT and isinstance(raw, bytes) and len(raw) == 4:
        return float(_SINGLE.unpack(raw)[0])
    if kind == _DOUBLE and isinstance(raw, bytes) and len(raw) == 8:
        return float(_TWICE.unpack(raw)[0])
    return None


def _other_plugin(metadata: Value | None) -> bool:
    return isinstance(metadata, bytes) and any(name in metadata for name in _PLUGINS)


def _fits(sample: LogSample) -> bool:
    # The first event of every file names the version of the format: "brain.Event:2".
    return b"brain.Event:" in sample.head[:64]


def _read(source: LogSource, table: RecordTable) -> None:
    """Read an event file, or all event files of a folder in the order of their start times."""
    path = Path(source.path)
    folder = path.parent if path.name == "*tfevents*" else path
    files = sorted(folder.glob("*tfevents*")) if folder.is_dir() else []
    scalars = ScalarReader()
    for part in [open_source(str(file)) for file in files] or [source]:
        trouble = scalars.read(part.blocks())
        part.close()
        if trouble:
            table.notes.append(f"{Path(part.path).name}: {trouble}")
    _fill(table, scalars)


def _fill(table: RecordTable, scalars: ScalarReader) -> None:
    steps = np.frombuffer(scalars.step, dtype=np.int64)
    tags = np.frombuffer(scalars.tag, dtype=np.int64)
    if not len(steps):
        return
    rows = _rows(steps, tags)
    first = np.unique(rows, return_index=True)[1]
    values = scalars.values

    def series() -> Iterator[tuple[str, NDArray[np.int64], NDArray[np.float64]]]:
        yield "wall_time", np.arange(len(first)), scalars.times[first]
        for number, tag in enumerate(scalars.tags):
            chosen = tags == number
            yield tag, rows[chosen], values[chosen]

    table.fill(line=(first + 1).astype(np.int64), step=steps[first].astype(np.float64), series=series())
    table.lines = len(steps)


def _rows(steps: NDArray[np.int64], tags: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the record of each value: neighbours of one step, split where a tag comes again."""
    group = np.cumsum(np.concatenate([[0], np.diff(steps) != 0]))
    key = group * (int(tags.max()) + 1) + tags
    order = np.argsort(key, kind="stable")
    same = np.concatenate([[False], np.diff(key[order]) == 0])
    starts = np.maximum.accumulate(np.where(same, 0, np.arange(len(key))))
    copy = np.empty(len(key), dtype=np.int64)
    copy[order] = np.arange(len(key)) - starts
    most = int(copy.max()) + 1
    return np.unique(group * most + copy, return_inverse=True)[1]


# Scalars of all tags; the tags of one step make one record.
TENSORBOARD = FileFormat(
    name="tensorboard",
    title="TensorBoard event files",
    fits=_fits,
    read=_read,
    preferred={"time": ("wall_time",)},
)
