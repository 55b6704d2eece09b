"""Store: this machine, whose files are counted, never from a pipe or device, never from two versions of a file."""

import os
import stat
from pathlib import Path

from mhcdiag.errors import ContainerError
from mhcdiag.tensorfiles.stores.interface import Store

_SPECIAL = {
    stat.S_IFIFO: "a named pipe (FIFO)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFDIR: "a directory",
}


_WORTH_FETCHING = 1 << 20
"""Bytes of one read from which on the system is asked to fetch what follows."""


class LocalFile:
    """A `ByteSource` over a regular file.

    The file is opened for each read: a checkpoint may have more shards than a process may have open files.

    Parameters
    ----------
    path
        The file; symbolic links are followed.

    Raises
    ------
    ContainerError
        There is no such file, it may not be read, or it is not a regular file.
    """

    __slots__ = ("_bytes_read", "_status", "name")

    def __init__(self, path: str) -> None:
        self.name = path
        # Before any open(): opening a FIFO waits for a writer that may never come.
        self._status = regular_status(path)
        self._bytes_read = 0

    @property
    def size(self) -> int:
        """Length in bytes, as it was when the file was first looked at."""
        return self._status.st_size

    @property
    def bytes_read(self) -> int:
        """Bytes handed out so far; bytes handed out twice count twice."""
        return self._bytes_read

    def read(self, offset: int, length: int) -> bytearray:
        """Exactly `length` bytes from `offset`.

        Raises
        ------
        ContainerError
            The file ends before, or is no longer the file whose header was read.
        """
        buffer = bytearray(length)
        self._fill(offset, memoryview(buffer), ahead=0)
        return buffer

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the buffer from `offset` on, and let the system fetch as much of what follows meanwhile.

        Raises
        ------
        ContainerError
            The file ends before, or is no longer the file whose header was read.
        """
        self._fill(offset, buffer, ahead=len(buffer) if len(buffer) >= _WORTH_FETCHING else 0)

    def _fill(self, offset: int, buffer: memoryview, *, ahead: int) -> None:
        end, unfilled = offset + len(buffer), buffer
        try:
            with Path(self.name).open("rb", buffering=0) as file:
                self._refuse_another_version(os.fstat(file.fileno()))
                if ahead and hasattr(os, "posix_fadvise"):  # not on macOS and Windows
                    os.posix_fadvise(file.fileno(), end, ahead, os.POSIX_FADV_WILLNEED)
                file.seek(offset)
                while unfilled and (count := file.readinto(unfilled)):
                    unfilled = unfilled[count:]
        except OSError as error:
            raise unreadable(self.name, error) from error
        if unfilled:
            raise ContainerError(
                self.name,
                found=f"the file ends at byte {end - len(unfilled)}",
                expected=f"bytes up to {end}",
                hint="copy or download the file again",
            )
        self._bytes_read += len(buffer)

    def _refuse_another_version(self, now: os.stat_result) -> None:
        if _version(now) != _version(self._status):
            raise ContainerError(
                self.name,
                found="the file changed while it was being read",
                hint="wait until the checkpoint is written, then try again",
            )


def _version(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def regular_status(path: str) -> os.stat_result:
    """Status of a regular file.

    Raises
    ------
    ContainerError
        Nothing stands there, it may not be looked at, or it is a pipe, device, socket or directory.
    """
    status = any_status(path)
    if not stat.S_ISREG(status.st_mode):
        kind = _SPECIAL.get(stat.S_IFMT(status.st_mode), "a special file")
        raise ContainerError(path, found=kind, expected="a regular file", hint="copy its content to a file first")
    return status


def any_status(path: str) -> os.stat_result:
    """Status of whatever stands at `path`, links followed.

    Raises
    ------
    ContainerError
        Nothing stands there, or it may not be looked at.
    """
    try:
        return os.stat(path)  # not Path(path).stat(), for which "" is the current directory
    except FileNotFoundError as error:
        if os.path.islink(path):
            raise ContainerError(
                path,
                found=f"a symbolic link to {os.readlink(path)}, which does not exist",
                hint="finish the download, or copy with links followed (cp -L)",
            ) from error
        raise ContainerError(path, found="no such file or directory") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL inside the name
        raise unreadable(path, error) from error


def unreadable(path: str, error: OSError | ValueError) -> ContainerError:
    """The error of the operating system in the words of ours."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    hint = "check the owner and mode of the file and its directory" if isinstance(error, PermissionError) else ""
    return ContainerError(path, found=f"cannot be read: {reason}", hint=hint)


LOCAL = Store(
    name="this machine",
    schemes=("",),  # with which every path begins
    looks="a path",
    find=None,
)
