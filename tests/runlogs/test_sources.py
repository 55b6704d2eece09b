"""Bytes of a log: its first ones twice, its pieces, and what is wrong with it."""

import io
from pathlib import Path

import pytest

from mhcdiag.errors import LogError
from mhcdiag.runlogs.sources import BLOCK, LogSource, open_source


def numbered(lines: int) -> bytes:
    return b"".join(b"%07d\n" % n for n in range(lines))


def test_the_head_of_a_stream_comes_again():
    data = numbered(100_000)
    source = LogSource("-", io.BytesIO(data))
    assert not source.seekable
    head = source.head(20_000)
    assert head == data[: 2 * BLOCK]  # two blocks of 16,384 lines each
    assert source.head(20_000) == head
    assert source.head(40_000) == data[: 3 * BLOCK]
    blocks = list(source.blocks())
    assert b"".join(blocks) == data
    assert {len(block) for block in blocks[:-1]} == {BLOCK}
    assert source.first == data[:4096]
    assert source.piece(0.5) == b""


@pytest.mark.parametrize(
    ("lines", "most", "blocks"), [(0, 10**6, 0), (1, 10**6, 1), (10**6, BLOCK, 1), (10**6, BLOCK + 1, 2)]
)
def test_a_head_ends_with_enough_lines_or_bytes(lines: int, most: int, blocks: int):
    source = LogSource("-", io.BytesIO(numbered(100_000)))
    assert len(source.head(lines, most)) == blocks * BLOCK


def test_a_head_of_a_short_stream_is_all_of_it():
    assert LogSource("-", io.BytesIO(b"a\nb")).head(2000) == b"a\nb"


@pytest.mark.parametrize(("size", "starts"), [(100, (0, 0, 0)), (65536, (0, 0, 0)), (165536, (0, 50_000, 100_000))])
def test_pieces_from_front_middle_and_end(tmp_path: Path, size: int, starts: tuple[int, ...]):
    data = bytes(n % 251 for n in range(size))
    (tmp_path / "log").write_bytes(data)
    source = open_source(str(tmp_path / "log"))
    assert source.seekable
    assert [source.piece(where) for where in (0.0, 0.5, 1.0)] == [data[start : start + 65536] for start in starts]
    assert b"".join(source.blocks()) == data
    source.close()


@pytest.mark.parametrize(("mark", "coding"), [(b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")])
def test_wide_characters_over_blocks(mark: bytes, coding: str):
    text = "loss \u00fc\n" * 30_000
    source = LogSource("-", io.BytesIO(mark + text.encode(coding)))
    assert b"".join(source.blocks()).decode() == text


def test_reading_that_fails_is_told():
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError("the disk is gone")

    with pytest.raises(LogError, match=r"run\.log: reading fails: the disk is gone"):
        list(LogSource("run.log", Broken()).blocks())


def test_directories_and_files_that_are_not_there(tmp_path: Path):
    with pytest.raises(LogError, match=r"a directory; expected a log file"):
        open_source(str(tmp_path))
    with pytest.raises(LogError, match=r"No such file or directory; expected a readable log file"):
        open_source(str(tmp_path / "absent"))
