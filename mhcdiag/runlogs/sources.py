"""Opening logs: plain or compressed files and standard input, as blocks that never raise half-way."""

import bz2
import codecs
import gzip
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from mhcdiag.errors import LogError, MissingExtraError
from mhcdiag.runlogs.lines import LONGEST_LINE

BLOCK = 1 << 17
"""Bytes per block; objects parsed from a larger one no longer fit the cache."""

PIECE = 1 << 16
"""Bytes of each piece that is looked at to recognise a format."""

_UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_BROKEN = (EOFError, zlib.error, lzma.LZMAError, OSError)


class ByteReader(Protocol):
    """What a log is read from."""

    def read(self, size: int, /) -> bytes:
        """Return at most this many bytes, none at the end."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


class PackedReader(Protocol):
    """A decompressing file."""

    def read1(self, size: int = -1, /) -> bytes:
        """Return what one step of the decompressor gives, none at the end."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


class LogSource:
    """A log that is read once, from front to back.

    Parameters
    ----------
    path
        As the user named it.
    stream
        Gives the bytes.
    file
        The same, if it can be sampled before it is read.
    """

    def __init__(self, path: str, stream: ByteReader, *, file: BinaryIO | None = None) -> None:
        self.path = path
        """The log as the user named it."""
        self.notes: list[str] = []
        """What went wrong while reading."""
        self._stream = stream
        self._file = file
        self._ahead: list[bytes] = []
        self.first = b""
        """The first bytes that were read."""

    @property
    def seekable(self) -> bool:
        """Whether parts of it can be looked at before it is read."""
        return self._file is not None

    def head(self, lines: int, most: int = 4 << 20) -> bytes:
        """Return the first bytes of a stream, which `blocks` yields again.

        Parameters
        ----------
        lines
            How many lines are wanted.
        most
            Bytes at which to stop: progress bars fill megabytes without a line end.
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
        """Return PIECE bytes from a relative position: 0 first, 0.5 middle, 1 last.

        The first piece is longer where it would hold no whole line: a record of thousands of series is.
        """
        if self._file is None:
            return b""
        size = self._file.seek(0, 2)
        self._file.seek(int(max(size - PIECE, 0) * start))
        found = self._file.read(PIECE)
        while not start and len(found) < LONGEST_LINE and b"\n" not in found and (more := self._file.read(PIECE)):
            found += more
        self._file.seek(0)
        return found

    def close(self) -> None:
        """Close the file; standard input stays open."""
        if self._stream is not sys.stdin.buffer:
            self._stream.close()

    def _next(self) -> bytes:
        try:
            return self._stream.read(BLOCK)
        except _BROKEN as error:
            if not isinstance(self._stream, _Packed):  # a disk that fails is no short log
                raise LogError(self.path, found=f"reading fails: {error}") from error
            # What was read up to the damage is a log: that of a job that was killed.
            self.notes.append(f"the compressed file is damaged or cut short ({error}): read up to there")
            return b""


class _Packed:
    """A decompressor read in small steps, so that damage costs no more than the last step.

    Of an archive without its end (a job that was killed), Python's readers raise and drop what they had of the block
    that was asked for.
    """

    def __init__(self, stream: PackedReader) -> None:
        self._stream = stream
        self._error: Exception | None = None

    def read(self, size: int, /) -> bytes:
        """Return at most this many bytes; the error of a damaged file comes after its last whole step."""
        parts: list[bytes] = []
        while size > 0 and self._error is None:
            try:
                part = self._stream.read1(min(size, 4096))
            except _BROKEN as error:
                self._error = error
                break
            if not part:
                break
            parts.append(part)
            size -= len(part)
        if self._error is not None and not parts:
            raise self._error
        return b"".join(parts)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


def _open_zstd(path: Path) -> PackedReader:
    try:
        import zstandard
    except ImportError as error:
        raise MissingExtraError("reading .zst files", extra="zstd") from error
    decompressor = zstandard.ZstdDecompressor()
    reader: PackedReader = decompressor.stream_reader(path.open("rb"), read_across_frames=True)
    return reader


_OPENERS: dict[bytes, Callable[[Path], PackedReader]] = {
    b"\x1f\x8b": gzip.GzipFile,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
    b"\x28\xb5\x2f\xfd": _open_zstd,
}


def open_source(path: str) -> LogSource:
    """Open a log; its first bytes say how it is compressed, not its name.

    Parameters
    ----------
    path
        A file, or `-` for standard input.

    Raises
    ------
    LogError
        The file cannot be opened.
    MissingExtraError
        It is compressed by zstandard, which is not installed.
    """
    if path == "-":
        return LogSource("-", sys.stdin.buffer)
    try:
        stream = Path(path).open("rb")  # noqa: SIM115
        head = stream.peek(6)[:6]
    except IsADirectoryError as error:
        raise LogError(path, found="a directory", expected="a log file") from error
    except OSError as error:
        raise LogError(path, found=error.strerror or str(error), expected="a readable log file") from error
    for magic, opener in _OPENERS.items():
        if head.startswith(magic):
            stream.close()
            return LogSource(path, _Packed(opener(Path(path))))
    return LogSource(path, stream, file=stream if stream.seekable() else None)
