"""What a container format offers, and the counted bytes that it reads from.

Adding a container is one module here with the two functions of `Container`, and one entry in `CONTAINERS`
(`tensorfiles/__init__.py`). Everything that a file can do wrong is a `mhcdiag.errors.ContainerError`.
"""

from typing import Protocol

from mhcdiag.namedtensors import NamedTensors
from mhcdiag.tensorfiles.places import Place


class ByteSource(Protocol):
    """Random access to the bytes of one file, local or remote, with a count of what was read."""

    @property
    def name(self) -> str:
        """Path or URL, for messages."""

    @property
    def size(self) -> int:
        """Length of the file in bytes."""

    @property
    def bytes_read(self) -> int:
        """Bytes handed out so far."""

    def read(self, offset: int, length: int) -> bytearray:
        """Exactly `length` bytes from `offset`; a shorter file raises `ContainerError`."""


class Container(Protocol):
    """One container format; the implementations are modules."""

    TITLE: str
    """What it is, for people."""
    LOOKS: str
    """What it is told by; code between backticks."""

    def recognises(self, place: Place) -> bool:
        """Whether this format is responsible for what stands at `place`, be it sound or broken."""

    def open_place(self, place: Place, *, key: str | None) -> NamedTensors:
        """Read the headers at `place`; `key` chooses among several state dicts of one file."""
