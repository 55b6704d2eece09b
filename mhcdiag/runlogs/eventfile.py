"""Scalars of TensorBoard event files: framed protobuf, read without TensorBoard and without dropping points.

Most events of a file differ only in time, step and value. Each shape of event is parsed once; after that, the
bytes around the value are looked up.
"""

import struct
from array import array
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Value = int | bytes

_LARGEST = (1 << 64) - 1


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """Return a base-128 number and the position behind it.

    Arguments: data: a message; position: of the number. Raises: ValueError when it does not end.
    """
    if position < len(data) and data[position] < 0x80:
        return data[position], position + 1
    result = shift = 0
    while True:
        if position >= len(data) or shift > 63:
            raise ValueError("a number that does not end")
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & _LARGEST, position
        shift += 7


def fields(data: bytes) -> Iterator[tuple[int, Value]]:
    """Yield number and value of each field; fixed-width values stay bytes.

    Arguments: data: a message. Raises: ValueError when it is none.
    """
    position, end = 0, len(data)
    while position < end:
        key, position = read_varint(data, position)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, position = read_varint(data, position)
            yield number, value
            continue
        if kind == 2:
            size, position = read_varint(data, position)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind}")
        if position + size > end:
            raise ValueError("a field that is longer than its message")
        yield number, data[position : position + size]
        position += size


LONGEST_EVENT = 1 << 30
"""Bytes; a longer event is a sign of damage."""

_FLOAT, _DOUBLE = 1, 2
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
        """Read one file.

        Arguments: blocks: its bytes. Returns: what was wrong with its end, or an empty text.
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
        while position + 12 <= size:
            (length,) = length_at(data, position)
            start = position + 12
            end = start + length
            if length > LONGEST_EVENT:
                raise ValueError("an event of impossible length")
            if end + 4 > size:
                break
            position = end + 4
            if data[start] != 0x09:
                continue
            body, step = start + 9, 0
            if data[body] == 0x10:
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
        """Remember where the value stands, if its four bytes occur once."""
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


_LENGTH, _SINGLE, _TWICE = struct.Struct("<Q"), struct.Struct("<f"), struct.Struct("<d")


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
