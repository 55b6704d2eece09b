"""The wire format of protobuf messages: enough of it to read event files and W&B files without their packages.

A message is a list of fields; a field is a key (number and wire type) and a value. Fields that nobody asks for are
passed over, so that newer versions of a writer change nothing here.
"""

from collections.abc import Iterator

Value = int | bytes

_LARGEST = (1 << 64) - 1


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """Return a base-128 number and the position behind it.

    Parameters
    ----------
    data
        A message.
    position
        Where the number begins.

    Raises
    ------
    ValueError
        The number does not end.
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
    """Yield number and value of each field of a message; fixed-width values stay bytes.

    Raises
    ------
    ValueError
        The bytes are no message.
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
        else:  # 3 and 4 are groups, which no writer of logs uses; 6 and 7 are none
            raise ValueError(f"wire type {kind}")
        if position + size > end:
            raise ValueError("a field that is longer than its message")
        yield number, data[position : position + size]
        position += size
