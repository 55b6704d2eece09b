"""What stands at a path, told by its content before any container is chosen."""

import os
import re
import stat
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from mhcdiag.errors import ContainerError
from mhcdiag.tensorfiles.local_file import LocalFile, any_status, unreadable

HEADER_LIMIT = 100_000_000
"""Longest safetensors header in bytes; the limit of the reference implementation."""

_HEAD = 64


class Content(Enum):
    """What the first bytes of a file say that it is."""

    SAFETENSORS = "a safetensors file"
    ZIP = "a zip archive, as torch.save writes it"
    PICKLE = "a pickle"
    GGUF = "a GGUF file"
    LFS_POINTER = "a Git-LFS pointer, not the file itself"
    REMOTE = "a file on a server"
    EMPTY = "an empty file"
    UNKNOWN = "an unknown format"


_MAGIC = {
    b"version https://git-lfs": Content.LFS_POINTER,
    b"GGUF": Content.GGUF,
    b"PK\x03\x04": Content.ZIP,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A file or directory that may be a checkpoint."""

    path: str
    """As the user named it."""
    content: Content | None
    """What the file's first bytes say; None for a directory."""
    head: bytes = b""
    """The file's first bytes, for messages; empty for a directory."""
    size: int = 0
    """Length of the file in bytes; 0 for a directory."""
    names: tuple[str, ...] = ()
    """The directory's visible entries, sorted; empty for a file."""

    @property
    def directory(self) -> str:
        """Where the files beside the tensors stand, such as `config.json`."""
        return self.path if self.content is None else os.path.dirname(self.path)

    def beside(self, name: str) -> str:
        """Path of an entry of `directory`."""
        return os.path.join(self.directory, name)


def content_of(head: bytes) -> Content:
    """Kind of a file by its first bytes; a suffix is no evidence."""
    if not head:
        return Content.EMPTY
    # First, since the length of a header can begin like a pickle; hence also the byte after those two below.
    if len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= HEADER_LIMIT:
        return Content.SAFETENSORS
    for magic, content in _MAGIC.items():
        if head.startswith(magic):
            return content
    if re.match(rb"\x80[\x02-\x05][^\0]", head):
        return Content.PICKLE
    return Content.UNKNOWN


def look(path: str) -> Place:
    """See what stands at `path`, reading no more than the first bytes of a file.

    Raises
    ------
    ContainerError
        Nothing stands there, it may not be read, or it is a pipe, device or socket.
    """
    if stat.S_ISDIR(any_status(path).st_mode):
        return Place(path=path, content=None, names=_entries(path))
    # Not counted as read: the container reads these bytes again.
    file = LocalFile(path)
    head = bytes(file.read(0, min(_HEAD, file.size)))
    return Place(path=path, content=content_of(head), head=head, size=file.size)


def _entries(path: str) -> tuple[str, ...]:
    try:
        # Hidden entries are never shards: editors and file servers leave copies like "._model.safetensors".
        return tuple(sorted(entry.name for entry in Path(path).iterdir() if not entry.name.startswith(".")))
    except OSError as error:
        raise unreadable(path, error) from error


def refuse_other_content(path: str, head: bytes, *, expected: str) -> None:
    """Raise if the first bytes of a file show that it is something else.

    Raises
    ------
    ContainerError
        The file is empty, a Git-LFS pointer, a pickle or a zip archive.
    """
    content = content_of(head)
    hints = {
        Content.EMPTY: "copy or download the file again",
        Content.LFS_POINTER: "run `git lfs pull`",
        Content.PICKLE: "if it comes from torch.save, its name should end in .pt",
        Content.ZIP: "if it comes from torch.save, its name should end in .pt",
    }
    if content in hints:
        raise ContainerError(path, found=content.value, expected=expected, hint=hints[content])
