"""The wire format, byte by byte."""

import pytest
from runlogs.wire import message, varint

from mhcdiag.runlogs.protobuf import fields, read_varint


@pytest.mark.parametrize("number", [0, 1, 127, 128, 129, 300, 16383, 16384, 2**32, 2**63 - 1, 2**63, 2**64 - 1])
def test_numbers_come_back_with_the_position_behind_them(number: int) -> None:
    raw = varint(number)
    assert read_varint(b"\x01" + raw + b"\x7f", 1) == (number, 1 + len(raw))


def test_bits_beyond_the_sixty_fourth_are_dropped() -> None:
    assert read_varint(b"\xff" * 9 + b"\x7f", 0) == (2**64 - 1, 10)


@pytest.mark.parametrize("raw", [b"", b"\x80", b"\xff" * 9, b"\xff" * 10 + b"\x01"])
def test_a_number_that_does_not_end(raw: bytes) -> None:
    with pytest.raises(ValueError, match="a number that does not end"):
        read_varint(raw, 0)


def test_fields_of_all_wire_types() -> None:
    data = (
        varint(1 << 3)
        + varint(300)
        + message(2, b"abc")
        + varint(3 << 3 | 1)
        + b"12345678"
        + varint(16 << 3 | 5)
        + b"1234"
    )
    assert list(fields(data)) == [(1, 300), (2, b"abc"), (3, b"12345678"), (16, b"1234")]


@pytest.mark.parametrize(
    ("data", "found"),
    [(message(2, b"abc")[:-1], "longer than its message"), (b"\x0b", "wire type 3"), (b"\x09" + b"1234567", "longer")],
)
def test_damage_is_told(data: bytes, found: str) -> None:
    with pytest.raises(ValueError, match=found):
        list(fields(data))
