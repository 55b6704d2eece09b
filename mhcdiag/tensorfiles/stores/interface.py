"""What a store offers: a place where the bytes of checkpoints lie, such as this machine, a web server or the Hub.

To add a store (`s3://` through fsspec, say), add one module here that ends with a `Store`, and one entry in `STORES`
(`stores/__init__.py`). `mhcdiag layouts` and the README then list it, and every command takes its addresses. Rules:

* `schemes` are its own: an address belongs to the first store in `STORES` that recognises it, and `LOCAL` recognises
  everything.
* `find` asks for no more than it needs to name the files of one checkpoint: it reads no header and no tensor.
* `Resource.fetch` sends exactly the range that it was asked for, raises `ContainerError` in words that say what to do,
  and repeats by itself what is worth repeating. It is called from several threads.
* What messages show (`Resource.name`) holds no token, password or signature.
* `Answer.version` differs when the file has changed: bytes of two states of a file are never mixed.
* Whatever takes long to import, or is not installed everywhere (fsspec, boto3), is imported inside of `find`; where it
  is missing, `find` raises `MissingExtraError`.

Containers read through `ByteSource` and need to know no store.
"""

from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a store sent of one file."""

    body: bytes
    """The bytes that were asked for."""
    size: int | None
    """Length of the whole file in bytes; None where the store does not say."""
    version: str
    """Tells one state of the file from another; empty where the store says nothing."""


class Resource(Protocol):
    """One file in a store other than this machine."""

    @property
    def name(self) -> str:
        """As messages show it: never with a token, a password or a signature."""

    def fetch(self, *, span: tuple[int, int] | None = None, limit: int) -> Answer:
        """The file, or a range of its bytes.

        Parameters
        ----------
        span
            First byte and number of bytes; None fetches everything.
        limit
            Most bytes to accept.

        Raises
        ------
        ContainerError
            The file is longer than `limit`, or cannot be fetched.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteFolder:
    """Where the files of one checkpoint stand in a store."""

    resource: Callable[[str], Resource]
    """A file by its name in the folder."""
    index: str | None
    """Name of the index of shards; None where there is none."""
    shards: tuple[str, ...]
    """Names of the shards where there is no index."""
    has_config: bool | None
    """Whether there is a `config.json`; None where only asking for it tells."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Store:
    """One place where checkpoints lie."""

    name: str
    """What it is, for people."""
    schemes: tuple[str, ...]
    """How its addresses begin: "https://"."""
    looks: str
    """Its addresses, for people; code between backticks."""
    find: Callable[[str], RemoteFolder] | None
    """The files of the checkpoint at an address; None for this machine, where containers look for themselves.

    Raises `ContainerError` where the address is malformed, nothing stands there, or it is no safetensors checkpoint.
    """

    def recognises(self, path: str) -> bool:
        """Whether an address is one of this store."""
        return path.startswith(self.schemes)
