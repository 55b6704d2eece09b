"""The values of tensors as they stand in the files, piece by piece: for who looks at all of a checkpoint.

`NamedTensors.read` gives one whole tensor of the model. A scan of all weights wants something else: bytes into one
buffer that it uses again and again, whatever the size of a tensor; every copy that the ranks of a training job saved,
where `read` wants them to be equal; the chunks of a distributed checkpoint one by one, without joining them.

A container offers that by a method `streams`; `further` names what its files hold beside the model, and `unread` says
what is not looked at. One that has none of these is read through `read`, which needs memory for the largest tensor.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from mhcdiag.namedtensors import NamedTensors, TensorInfo
from mhcdiag.tensorfiles.element_types import BITS, spelling_of
from mhcdiag.tensorfiles.stores.interface import ByteSource

if TYPE_CHECKING:
    import numpy
    from torch import Tensor

    Bytes = numpy.ndarray[tuple[int], numpy.dtype[numpy.uint8]]

Reader = Callable[[int, int, memoryview], "Bytes"]
"""Gives elements [first, first + count) of a block as bytes, in the buffer or where they lie in memory already."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """A part of a tensor, rectangular, whose elements stand one behind the other (the last axis runs fastest)."""

    offsets: tuple[int, ...]
    """Where it begins in the tensor, per axis."""
    shape: tuple[int, ...]
    read: Reader
    """Its elements; the bytes are valid until the next call with the same buffer."""
    group: int = 1
    """Elements that are read together: first and count are multiples of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stream:
    """One stored copy of one tensor."""

    name: str
    """Of the tensor; with the rank behind it where several processes saved it."""
    dtype: str
    """Element type that `Block.read` gives, in the spelling of safetensors."""
    stored: str
    """Element type in the file; another one where quantised blocks are read as float32."""
    shape: tuple[int, ...]
    """Without axes along which all values are one and the same in memory (`expand` of torch): these have length 1."""
    bytes: int
    """Size in the file."""
    blocks: tuple[Block, ...]
    """They cover each element once."""
    memory: object = None
    """The same for two tensors that are one in memory, as tied weights in a file of `torch.save`; None: not known."""


@runtime_checkable
class Streamed(Protocol):
    """A checkpoint that gives its values piece by piece."""

    @property
    def further(self) -> Iterable[str]:
        """Names of tensors that its files hold beside the model's, such as an optimizer's; `streams` gives them too."""

    def streams(self, name: str) -> Sequence[Stream]:
        """Every stored copy of one tensor: one, or one for each rank.

        Raises
        ------
        mhcdiag.errors.MhcdiagError
            Its values cannot be read, and why.
        """

    @property
    def unread(self) -> Sequence[str]:
        """What belongs to it, or lies beside it, and is not looked at, in words."""


@runtime_checkable
class IntoBuffer(Protocol):
    """A file whose bytes can be read into memory that is there already."""

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the buffer from `offset` on; a shorter file raises `ContainerError`."""


def streams_of(checkpoint: NamedTensors, name: str) -> Sequence[Stream]:
    """Every stored copy of one tensor, whatever the container.

    Raises
    ------
    mhcdiag.errors.MhcdiagError
        Its values cannot be read, and why.
    """
    if isinstance(checkpoint, Streamed):
        return checkpoint.streams(name)
    return [_through_read(checkpoint, name, checkpoint.tensors[name])]


def further_in(checkpoint: NamedTensors) -> list[str]:
    """Names of tensors that a checkpoint's files hold beside the model's."""
    return list(checkpoint.further) if isinstance(checkpoint, Streamed) else []


def unread_in(checkpoint: NamedTensors) -> Sequence[str]:
    """What belongs to a checkpoint, or lies beside it, and is not looked at, in words."""
    return checkpoint.unread if isinstance(checkpoint, Streamed) else ()


def bytes_of(count: int, dtype: str) -> int:
    """Bytes that so many elements take."""
    return count * BITS[dtype] // 8


def file_reader(source: IntoBuffer | ByteSource, *, start: int, dtype: str) -> Reader:
    """What reads elements that stand in a file from byte `start` on.

    Parameters
    ----------
    source
        The file; one that is no `IntoBuffer` is read through `ByteSource.read`, with one copy more.
    """
    import numpy

    into = source.read_into if isinstance(source, IntoBuffer) else _through_copy(source)

    def read(first: int, count: int, buffer: memoryview) -> "Bytes":
        length = bytes_of(count, dtype)
        into(start + bytes_of(first, dtype), buffer[:length])
        return numpy.frombuffer(buffer[:length], dtype=numpy.uint8)

    return read


def _through_copy(source: ByteSource) -> Callable[[int, memoryview], None]:
    def into(offset: int, buffer: memoryview) -> None:
        buffer[:] = source.read(offset, len(buffer))

    return into


_WHOLE = 1 << 28
"""Bytes up to which a tensor that has no bytes of its own is held in memory as a whole."""


def tensor_reader(load: Callable[[slice | None], "Tensor"], shape: tuple[int, ...], *, size: int) -> Reader:
    """What reads elements of a tensor that somebody else makes, rows at a time where it is large.

    Parameters
    ----------
    load
        Gives the tensor, or rows of it.
    size
        Its size in bytes.
    """
    held: list[Bytes] = []
    row = prod(shape[1:])

    def read(first: int, count: int, _buffer: memoryview) -> "Bytes":
        if size > _WHOLE and len(shape) > 1 and row:
            top, bottom = first // row, -(-(first + count) // row)
            values = raw_bytes(load(slice(top, bottom)))
            item = len(values) // ((bottom - top) * row)
            return values[(first - top * row) * item : (first + count - top * row) * item]
        if not held:
            held.append(raw_bytes(load(None)))
        item = len(held[0]) // max(1, prod(shape))
        part = held[0][first * item : (first + count) * item]
        if first + count == prod(shape):
            held.clear()  # who reads from the beginning to the end needs it no longer
        return part

    return read


def raw_bytes(tensor: "Tensor") -> "Bytes":
    """The bytes of a tensor on the CPU, element after element; a copy only where it has another order."""
    import torch

    flat = tensor.detach().contiguous().reshape(-1)
    if flat.is_complex():
        flat = torch.view_as_real(flat.resolve_conj()).reshape(-1)
    found: Bytes = flat.view(torch.uint8).numpy()
    return found


def _through_read(checkpoint: NamedTensors, name: str, info: TensorInfo) -> Stream:
    """A stream over `NamedTensors.read`; its element type is that of the tensor, which the header need not name."""
    first = checkpoint.read(name, rows=slice(0, 1)) if info.shape and info.shape[0] else checkpoint.read(name)
    dtype = spelling_of(first.dtype)
    size = prod(info.shape) * first.element_size()
    read = tensor_reader(lambda rows: checkpoint.read(name, rows=rows), info.shape, size=size)
    block = Block(offsets=(0,) * len(info.shape), shape=info.shape, read=read)
    return Stream(name=name, dtype=dtype, stored=info.dtype, shape=info.shape, bytes=size, blocks=(block,))
