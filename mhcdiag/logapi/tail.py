"""The bytes of a file that grows: waits for it, survives truncation and rotation."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from mhcdiag.errors import LogError

BLOCK = 1 << 18
POLL = 0.2
"""Seconds between two looks at a file that stands still."""


def tail(
    path: str,
    *,
    idle_timeout: float | None = None,
    stopped: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[bytes]:
    """Yield the bytes of a file as they are written, `b""` while there are none. Raises: LogError.

    A file that is not there yet is waited for. One that shrinks or is replaced is read from its start; a
    line that was half written is ended before, so that no line is made of two.

    Arguments: path: the file, `-` for standard input; idle_timeout: seconds without new bytes after which
    to end, None: never; stopped: asked between two blocks whether to end; clock, sleep: of the machine.
    """
    source = _Source(path)
    last = clock()
    try:
        while not stopped():
            block = source.read()
            if block is None:
                return
            if block:
                last = clock()
            elif idle_timeout is not None and clock() - last >= idle_timeout:
                return
            yield block
            if not block:
                sleep(min(POLL, idle_timeout or POLL))
    finally:
        source.close()


class _Source:
    """The file under its name, reopened when another one stands there."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: BinaryIO | None = sys.stdin.buffer if path == "-" else None

    def read(self) -> bytes | None:
        """Return the next bytes; empty when there are none yet, None when there will be no more."""
        try:
            return self._read()
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise LogError(self._path, found=reason, expected="a file that can be read while it grows") from error

    def _read(self) -> bytes | None:
        if self._path == "-":
            assert self._file is not None
            return os.read(self._file.fileno(), BLOCK) or None
        if self._file is None and not self._open():
            return b""
        assert self._file is not None
        block = self._file.read(BLOCK)
        if block or not self._replaced():
            return block
        self.close()
        return b"\n"

    def close(self) -> None:
        """Close the file, but not standard input."""
        if self._file is not None and self._path != "-":
            self._file.close()
            self._file = None

    def _open(self) -> bool:
        try:
            self._file = Path(self._path).open("rb")  # noqa: SIM115 - closed by close()
        except FileNotFoundError:
            return False
        return True

    def _replaced(self) -> bool:
        assert self._file is not None
        try:
            now = os.stat(self._path)
        except FileNotFoundError:
            return False  # moved away: the next one will come under the same name
        mine = os.fstat(self._file.fileno())
        other = (now.st_dev, now.st_ino) != (mine.st_dev, mine.st_ino)
        return other or now.st_size < self._file.tell()
