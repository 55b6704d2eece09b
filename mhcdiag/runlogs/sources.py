"""Opening logs: plain or compressed files and standard input, as blocks of bytes that never raise half-way."""

import bz2
import codecs
import gzip
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from mhcdiag.errors import LogError, MissingExtraError

BLOCK = 1 << 17
"""Bytes per block; objects parsed from a larger one no longer fit the cache."""

_UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_BROKEN = (EOFError, zlib.error, lzma.LZMAError, OSError)


class LogSource:
    """A log that is read once, from front to back."""

    def __init__(self, path: str, stream: BinaryIO, *, packed: bool) -> None:
        self.path = path
        """The log as the user named it."""
        self.notes: list[str] = []
        """What went wrong while reading."""
        self.seekable = not packed and stream.seekable()
        """Whether parts of it can be looked at before it is read."""
        self._stream = stream
        self._packed = packed
        self._ahead: list[bytes] = []
        self.first = b""
        """The first bytes that were read."""

    def head(self, lines: int, most: int = 4 << 20) -> bytes:
        """Return the first bytes of a stream, which `blocks` yields again.

        Arguments: lines: how many lines are wanted; most: bytes at which to stop.
        """
        ends = sum(block.count(b"\n") for block in self._ahead)
        size = sum(map(len, self._ahead))
        while ends < lines and size < most and (block := self._next()):
            self._ahead.append(block)
            ends += block.count(b"\n")
            size += len(block)
        return b"".join(self._ahead)

    def blocks(self) -> Iterator[bytes]:
        """Yield the bytes; what can still be read of a damaged archive is yielded before the note is made."""
        decoder: codecs.IncrementalDecoder | None = None
        first = True
        while block := self._ahead.pop(0) if self._ahead else self._next():
            if first and block[:2] in _UTF16:
                decoder = codecs.getincrementaldecoder(_UTF16[block[:2]])("replace")
                block = block[2:]
            self.first = self.first or block[:4096]
            first = False
            yield decoder.decode(block).encode() if decoder else block

    def piece(self, start: float) -> bytes:
        """Return 64 KiB from a relative position (0 first, 0.5 middle, 1 last) without moving the reading position.

        Arguments: start: where to look, as a share of the file.
        """
        if not self.seekable:
            return b""
        size = self._stream.seek(0, 2)
        self._stream.seek(int(max(size - 65536, 0) * start))
        found = self._stream.read(65536)
        self._stream.seek(0)
        return found

    def close(self) -> None:
        """Close the file; standard input stays open."""
        if self._stream is not sys.stdin.buffer:
            self._stream.close()

    def _next(self) -> bytes:
        try:
            return self._stream.read(BLOCK)
        except _BROKEN as error:
            if not self._packed:
                raise LogError(self.path, found=f"reading fails: {error}") from error
            self.notes.append(f"the compressed file is damaged or cut short ({error}): read up to there")
            return b""


class _SmallSteps:
    """A decompressor read in small steps, so that damage costs no more than the last step."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._error: Exception | None = None

    def read(self, size: int) -> bytes:
        if self._error is not None:
            raise self._error
        parts: list[bytes] = []
        while size > 0:
            try:
                part = self._stream.read(min(size, 4096))
            except _BROKEN as error:
                self._error = error
                if not parts:
                    raise
                break
            if not part:
                break
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        self._stream.close()


def _open_zstd(path: Path) -> BinaryIO:
    try:
        import zstandard
    except ImportError as error:
        raise MissingExtraError("reading .zst files", extra="zstd") from error
    return zstandard.open(path, "rb")  # type: ignore[return-value]


_PACKED: dict[bytes, Callable[[Path], BinaryIO]] = {
    b"\x1f\x8b": lambda path: gzip.open(path, "rb"),  # type: ignore[dict-item,return-value]
    b"BZh": lambda path: bz2.open(path, "rb"),
    b"\xfd7zXZ\x00": lambda path: lzma.open(path, "rb"),  # type: ignore[dict-item,return-value]
    b"\x28\xb5\x2f\xfd": _open_zstd,
}


def open_source(path: str) -> LogSource:
    """Open a log; compression is told by the first bytes, not by the name.

    Arguments: path: file, or `-` for standard input. Raises: LogError, MissingExtraError.
    """
    if path == "-":
        return LogSource("-", sys.stdin.buffer, packed=False)
    try:
        stream = Path(path).open("rb")
        head = stream.read(6)
        stream.seek(0)
    except IsADirectoryError as error:
        raise LogError(path, found="a directory", expected="a log file") from error
    except OSError as error:
        raise LogError(path, found=error.strerror or str(error), expected="a readable log file") from error
    for magic, opener in _PACKED.items():
        if head.startswith(magic):
            stream.close()
            return LogSource(path, _SmallSteps(opener(Path(path))), packed=True)  # type: ignore[arg-type]
    return LogSource(path, stream, packed=False)
