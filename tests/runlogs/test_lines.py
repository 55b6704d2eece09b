from hypothesis import given
from hypothesis import strategies as st

from mhcdiag.runlogs import lines
from mhcdiag.runlogs.lines import LineSplitter

PIECES = st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r", b"\r\n", b"", b"\xff"]), max_size=23)


def split(blocks: list[bytes]) -> tuple[list[tuple[int, bytes]], int]:
    splitter = LineSplitter()
    found = [
        pair for block in blocks for got in [splitter.feed(block)] for pair in zip(got.numbers, got.texts, strict=True)
    ]
    last = splitter.finish()
    return [pair for pair in [*found, *zip(last.numbers, last.texts, strict=True)] if pair[1]], splitter.count


@given(PIECES)
def test_the_split_changes_nothing(pieces):
    data = b"".join(pieces)
    assert split(pieces) == split([data]) == split([bytes([byte]) for byte in data])


@given(PIECES)
def test_lines_are_counted_as_an_editor_counts_them(pieces):
    data = b"".join(pieces)
    found, count = split([data])
    whole = data.split(b"\n")
    for number, text in found:
        assert text in whole[number - 1].split(b"\r")
    assert count == data.count(b"\n") + bool(whole[-1])


def test_long_lines_are_left_out_whatever_the_split(monkeypatch):
    monkeypatch.setattr(lines, "LONGEST_LINE", 5)
    data = b"ab\n" + b"x" * 13 + b"\ncd\n" + b"y" * 6 + b"\nef"
    for size in (1, 2, 3, 7, len(data)):
        found, count = split([data[at : at + size] for at in range(0, len(data), size)])
        assert found == [(1, b"ab"), (3, b"cd"), (5, b"ef")]
        assert count == 5


def test_long_lines_are_counted_once(monkeypatch):
    monkeypatch.setattr(lines, "LONGEST_LINE", 5)
    splitter = LineSplitter()
    for byte in b"x" * 23 + b"\nab\n":
        splitter.feed(bytes([byte]))
    assert splitter.too_long == 1
