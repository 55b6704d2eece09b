"""What a container format offers: `open_*` functions that return `NamedTensors`, over bytes that are counted.

Adding a container is one file here and one entry in `CONTAINERS` (`tensorfiles/__init__.py`).
"""

from typing import Protocol


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
