"""What stands at a path or address, found out by content before any container is chosen."""

import os
import re
import stat
import struct
import zipfile
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from mhcdiag.errors import ContainerError
from mhcdiag.tensorfiles.stores import STORES
from mhcdiag.tensorfiles.stores.interface import ByteSource, Store
from mhcdiag.tensorfiles.stores.local import LocalFile, any_status, unreadable
from mhcdiag.tensorfiles.strict_json import JSON_LIMIT, parse_object

HEADER_LIMIT = 100_000_000
"""Longest safetensors header in bytes: MAX_HEADER_SIZE of the reference implementation (safetensors/src/tensor.rs)."""

_HEAD = 64
"""Bytes looked at: enough for every mark of a format below, and for the first words in a message."""


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
    """A file, directory or address that may be a checkpoint."""

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


def store_of(path: str) -> Store:
    """The store that holds what a path or address names."""
    return next(store for store in STORES if store.recognises(path))


def is_remote(path: str) -> bool:
    """Whether this is an address in a store rather than a path of this machine."""
    return store_of(path).find is not None


def look(path: str) -> Place:
    """See what stands at `path`, reading no more than the first bytes of a file, and nothing from a server.

    Raises
    ------
    ContainerError
        Nothing stands there, it may not be read, or it is a pipe, device or socket.
    """
    if is_remote(path):
        return Place(path=path, content=Content.REMOTE)
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


_BROKEN_ARCHIVE = (OSError, zipfile.BadZipFile, ValueError, NotImplementedError, struct.error)
"""What zipfile raises: the last two for a compression or version that it does not know, and for cut-off headers."""


def members_of(place: Place) -> list[str] | None:
    """Names of the files in a zip archive; empty for anything else, None where the archive is broken."""
    if place.content is not Content.ZIP:
        return []
    try:
        with zipfile.ZipFile(place.path) as archive:
            return archive.namelist()
    except _BROKEN_ARCHIVE:
        return None


def config_beside(place: Place) -> LocalFile | None:
    """The file `config.json` in the directory of the tensors; None where there is none.

    Raises
    ------
    ContainerError
        It is not a regular file, or a link to nothing.
    """
    path = place.beside("config.json")
    # A broken link is a download that was not finished, not a model without configuration.
    if not Path(path).exists() and not Path(path).is_symlink():
        return None
    return LocalFile(path)


def read_object(source: ByteSource) -> dict[str, Any]:
    """Read a small file that holds one JSON object: a configuration or the index of shards.

    Raises
    ------
    ContainerError
        The file is empty, a Git-LFS pointer, too large, or not a JSON object with unique keys.
    """
    if source.size > JSON_LIMIT:
        raise ContainerError(source.name, found=f"{source.size} bytes", expected=f"a JSON file of at most {JSON_LIMIT}")
    raw = source.read(0, source.size)
    refuse_other_content(source.name, bytes(raw[:_HEAD]), expected="a JSON object")
    return parse_object(raw, path=source.name, what="the file")
