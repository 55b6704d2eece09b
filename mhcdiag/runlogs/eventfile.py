"""Scalars of TensorBoard event files: framed protobuf, read without TensorBoard and without dropping points.

Most events of a file differ only in time, step and value. Each shape of event is parsed once; after that, the bytes
around the value are looked up.
"""

import struct
from array import array
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mhcdiag.runlogs.protobuf import Value, fields, read_varint

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
        self._index: dict[str, int] = {}
        self._slots: dict[int, int] = {}
        self._shapes: dict[bytes, int] = {}

    def read(self, blocks: Iterator[bytes]) -> str:
        """Read one file.

        Arguments: blocks: its bytes. Returns: what was wrong with its end, or an empty text.
        """
        rest = b""
        for block in blocks:
            data = rest + block if rest else block
            position, size = 0, len(data)
            while position + 12 <= size:
                (length,) = _LENGTH.unpack_from(data, position)
                if length > LONGEST_EVENT:
                    return "damaged: an event of impossible length"
                end = position + 16 + length
                if end > size:
                    break
                try:
                    self._event(data[position + 12 : end - 4])
                except ValueError as error:
                    return f"damaged: {error}"
                position = end
            rest = data[position:]
        return "the last event is half-written" if rest else ""

    @property
    def values(self) -> NDArray[np.float64]:
        """All values, in order of writing."""
        return np.frombuffer(self._values, dtype="<f8")

    @property
    def times(self) -> NDArray[np.float64]:
        """Wall time of each value, seconds."""
        return np.frombuffer(self._times, dtype="<f8")

    def _event(self, event: bytes) -> None:
        if event[:1] != b"\x09":
            return
        position, step = 9, 0
        if event[9:10] == b"\x10":
            step, position = read_varint(event, 10)
        size = len(event) - position
        slot = self._slots.get(size)
        if slot is not None:
            slot += position
            tag = self._shapes.get(event[position:slot] + event[slot + 4 :])
            if tag is not None:
                self._take(tag, step, event, *_SINGLE.unpack_from(event, slot))
                return
        self._parse(event, position, step)

    def _take(self, tag: int, step: int, event: bytes, value: float) -> None:
        self.tag.append(tag)
        self.step.append(step if step < 1 << 63 else step - (1 << 64))
        self._times += event[1:9]
        self._values += _TWICE.pack(value)

    def _parse(self, event: bytes, position: int, step: int) -> None:
        found: list[tuple[int, float]] = []
        for number, value in fields(event):
            if number == 5 and isinstance(value, bytes):
                found.extend(self._summary(value))
        for tag, number in found:
            self._take(tag, step, event, number)
        if len(found) == 1:
            self._learn(event, position, *found[0])

    def _learn(self, event: bytes, position: int, tag: int, value: float) -> None:
        """Remember where the value stands, if its four bytes occur once."""
        try:
            single = _SINGLE.pack(value)
        except OverflowError:
            return
        slot = event.rfind(single, position)
        if (
            value
            and slot >= 0
            and event.find(single, position) == slot
            and _SINGLE.unpack(single)[0] == value
        ):
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
