"""Bytes of one file on a server, by range requests: counted, and never from two states of the file."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock

from mhcdiag.errors import ContainerError
from mhcdiag.tensorfiles.places import HEADER_LIMIT
from mhcdiag.tensorfiles.stores.interface import Answer, Resource

HEAD = 1 << 17
"""Bytes of the first request: most headers of safetensors shards are within."""
GAP = 1 << 16
"""Two wanted ranges this close are fetched as one: bytes are cheaper than requests."""
CONNECTIONS = 8
"""Requests at the same time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Block:
    start: int
    data: bytes

    def part(self, offset: int, length: int) -> bytes | None:
        begin = offset - self.start
        return self.data[begin : begin + length] if 0 <= begin <= len(self.data) - length else None


class RemoteFile:
    """A `ByteSource` over a file on a server.

    Parameters
    ----------
    resource
        The file; its first bytes are fetched when size or content are first asked for.
    """

    def __init__(self, resource: Resource) -> None:
        self.name = resource.name
        self._resource = resource
        self._size = -1
        self._version = ""
        self._blocks: list[_Block] = []
        self._bytes_read = 0
        self._lock = Lock()

    @property
    def size(self) -> int:
        """Length of the file in bytes, as the server says."""
        self.fetch_head()
        return self._size

    @property
    def bytes_read(self) -> int:
        """Bytes fetched so far."""
        return self._bytes_read

    def fetch_head(self) -> None:
        """Fetch the first bytes, and the whole header where they show a longer one; later calls do nothing.

        Raises
        ------
        ContainerError
            The server refuses, does not answer, or sends no ranges.
        """
        if self._size >= 0:
            return
        answer = self._resource.fetch(span=(0, HEAD), limit=HEAD)
        size = answer.size
        if size is None:
            raise ContainerError(self.name, found="the server does not say how long the file is")
        self._size, self._version = size, answer.version
        self._keep(0, answer)
        header = 8 + int.from_bytes(answer.body[:8], "little")
        if len(answer.body) < header <= min(size, HEADER_LIMIT):
            self._fetch(len(answer.body), header - len(answer.body))

    def read(self, offset: int, length: int) -> bytearray:
        """Exactly `length` bytes from `offset`.

        Raises
        ------
        ContainerError
            The file ends before, changed since its first bytes were fetched, or cannot be fetched.
        """
        if offset + length > self.size:
            raise ContainerError(
                self.name, found=f"the file ends at byte {self.size}", expected=f"bytes up to {offset + length}"
            )
        if not length:
            return bytearray()
        found = self._known(offset, length)
        if found is None:
            found = self._joined(offset, length)
        return bytearray(found if found is not None else self._fetch(offset, length))

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the buffer from `offset` on, and keep nothing of it: a whole checkpoint would not fit into memory.

        Raises
        ------
        ContainerError
            The file ends before, changed since its first bytes were fetched, or cannot be fetched.
        """
        if not buffer:
            return
        found = self._known(offset, len(buffer))
        if found is None:
            answer = self._answer(offset, len(buffer))
            found = answer.body
            with self._lock:
                self._bytes_read += len(found)
        buffer[:] = found

    def _known(self, offset: int, length: int) -> bytes | None:
        return next((part for block in self._blocks if (part := block.part(offset, length)) is not None), None)

    def _joined(self, offset: int, length: int) -> bytes | None:
        """A range over the first two blocks, which follow each other where the header was long."""
        if len(self._blocks) < 2 or self._blocks[1].start != len(self._blocks[0].data):
            return None
        both = _Block(start=0, data=self._blocks[0].data + self._blocks[1].data)
        return both.part(offset, length)

    def _fetch(self, offset: int, length: int) -> bytes:
        answer = self._answer(offset, length)
        self._keep(offset, answer)
        return answer.body

    def _answer(self, offset: int, length: int) -> Answer:
        answer = self._resource.fetch(span=(offset, length), limit=length)
        size = answer.size
        if (size is not None and size != self._size) or answer.version != self._version:
            raise ContainerError(
                self.name,
                found="the file changed between two requests",
                hint="try again when the upload is done, or name a revision",
            )
        if len(answer.body) != length:
            raise ContainerError(self.name, found=f"{len(answer.body)} bytes", expected=f"{length} from {offset}")
        return answer

    def _keep(self, offset: int, answer: Answer) -> None:
        with self._lock:
            self._blocks.append(_Block(start=offset, data=answer.body))
            self._bytes_read += len(answer.body)

    def missing(self, spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """What of these ranges (offset, length) is not here yet, those close together joined."""
        found: list[tuple[int, int]] = []
        for offset, length in sorted(spans):
            if not length or self._known(offset, length) is not None:
                continue
            if found and offset <= sum(found[-1]) + GAP:
                first = found[-1][0]
                found[-1] = (first, max(sum(found[-1]), offset + length) - first)
            else:
                found.append((offset, length))
        return found


def fetch_heads(files: Sequence[RemoteFile]) -> None:
    """Fetch the first bytes of all files, several at a time."""
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(RemoteFile.fetch_head, files))


def fetch_spans(spans: Sequence[tuple[RemoteFile, int, int]]) -> None:
    """Fetch ranges (file, offset, length) of several files, several at a time; `read` then finds them."""
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(lambda span: span[0]._fetch(span[1], span[2]), spans))
