"""What a container format offers, and the counted bytes that it reads from.

Adding a container is one module in `containers/` that ends with a `Container`, and one entry in `CONTAINERS`
(`containers/__init__.py`). Everything that a file can do wrong is a `mhcdiag.errors.ContainerError`.
"""

from collections.abc import Callable
from dataclasses import dataclass
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


class OpenPlace(Protocol):
    """What reads the headers at a place."""

    def __call__(self, place: Place, *, key: str | None) -> NamedTensors:
        """Read them; `key` chooses among several state dicts of one file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Container:
    """One container format."""

    title: str
    """What it is, for people."""
    looks: str
    """What it is recognised by; code between backticks."""
    recognises: Callable[[Place], bool]
    """Whether this format is responsible for what stands at a place, be it sound or broken."""
    open_place: OpenPlace
    """Read the headers at a place."""
