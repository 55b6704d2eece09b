"""The pieces of all tensors, one after the other, and from a server several at a time before they are needed."""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from mhcdiag.errors import ContainerError, MhcdiagError
from mhcdiag.tensorfiles.element_types import BITS
from mhcdiag.tensorfiles.streams import Block, Stream
from mhcdiag.weight_scan.codings import CODINGS, Bytes
from mhcdiag.weight_scan.parts import Part

PIECE = 1 << 22
"""Bytes read at a time: more than a disk needs to run at full speed, and less than the second and third cache."""
SAMPLED_PIECE = 1 << 18
"""Bytes of a piece where only a share of them is read: smaller ones spread better over a tensor."""
AHEAD = 8
"""Pieces that are on their way from a server at the same time: an answer takes some 50 ms however short it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """Some elements of one part, wanted or read."""

    part: Part
    block: Block | None
    """None for a part without elements, or one that cannot be cut into pieces."""
    first: int = 0
    count: int = 0
    """Elements, counted in the block."""
    ends: bool = False
    """Whether it is the last one of its part."""
    data: Bytes | None = None
    """Its bytes, valid until the next piece is asked for; None where they could not be read."""
    error: MhcdiagError | None = None
    """Why they could not be read."""


def read_in_order(parts: Sequence[Part], *, sample: float, ahead: int) -> Iterator[Piece]:
    """Yield all pieces of all parts, read.

    Parameters
    ----------
    sample
        Share of each large tensor to look at.
    ahead
        Pieces that are read before they are asked for; 0 reads each when it is wanted.
    """
    wanted = (piece for part in parts for piece in _wanted(part, sample))
    if not ahead:
        buffer = memoryview(bytearray(PIECE))
        yield from (_read(piece, buffer) for piece in wanted)
        return
    # A buffer is used again when the piece that was read into it has been done with: one after those under way.
    free = deque(memoryview(bytearray(PIECE)) for _ in range(ahead + 1))
    under_way: deque[tuple[Future[Piece], memoryview]] = deque()
    with ThreadPoolExecutor(ahead, thread_name_prefix="mhcdiag-read") as pool:
        for piece in wanted:
            buffer = free.popleft()
            under_way.append((pool.submit(_read, piece, buffer), buffer))
            if len(under_way) == ahead:
                future, done = under_way.popleft()
                yield future.result()
                free.append(done)
        while under_way:
            yield under_way.popleft()[0].result()


def _read(piece: Piece, buffer: memoryview) -> Piece:
    if piece.block is None:
        return piece
    try:
        data = piece.block.read(piece.first, piece.count, buffer)
    except MhcdiagError as error:
        return _with(piece, error=error)
    return _with(piece, data=data)


def _with(piece: Piece, *, data: Bytes | None = None, error: MhcdiagError | None = None) -> Piece:
    return Piece(
        part=piece.part, block=piece.block, first=piece.first, count=piece.count, ends=piece.ends, data=data,
        error=error,
    )  # fmt: skip


def _wanted(part: Part, sample: float) -> Iterator[Piece]:
    """Yield the pieces of a part that are to be read; one without a block where there is nothing to read."""
    try:
        if part.stream.dtype not in CODINGS:
            raise ContainerError(part.name, found=f"element type {part.stream.dtype}, which is not known here")
        before: tuple[Block, int, int] | None = None
        for chosen in sampled(pieces(part.stream, sample), sample):
            if before is not None:
                yield Piece(part=part, block=before[0], first=before[1], count=before[2])
            before = chosen
    except ContainerError as error:
        yield Piece(part=part, block=None, ends=True, error=error)
        return
    block, first, count = before or (None, 0, 0)
    yield Piece(part=part, block=block, first=first, count=count, ends=True)


def pieces(stream: Stream, sample: float = 1.0) -> Iterator[tuple[Block, int, int]]:
    """Yield block, first element and number of elements of every piece: whole rows, or parts of one long row.

    Raises
    ------
    ContainerError
        Rows end within a byte.
    """
    bits = BITS[stream.dtype]
    most = (PIECE if sample == 1.0 else SAMPLED_PIECE) * 8 // bits
    for block in stream.blocks:
        elements = math.prod(block.shape)
        row = math.prod(block.shape[1:]) if len(block.shape) > 1 else elements
        if row * bits % 8:
            found = f"rows of {row} values of {bits} bits, which end within a byte"
            raise ContainerError(stream.name, found=found)
        if not elements:
            continue
        unit = math.lcm(block.group, 8 // min(8, bits))
        step = most // row * row if row <= most else most // unit * unit
        for start in range(0, elements, row if row > most else elements):
            end = start + (row if row > most else elements)
            for first in range(start, end, step):
                yield block, first, min(step, end - first)


def sampled(every: Iterable[tuple[Block, int, int]], sample: float) -> Iterator[tuple[Block, int, int]]:
    """Yield the pieces of a sample, spread evenly, the first and the last among them.

    One by one: a header of a few bytes may claim a tensor of more pieces than fit into memory.
    """
    last: tuple[Block, int, int] | None = None
    for number, piece in enumerate(every):
        last = piece
        if number == 0 or sample == 1.0 or math.floor((number + 1) * sample) > math.floor(number * sample):
            yield piece
            last = None
    if last is not None:
        yield last
