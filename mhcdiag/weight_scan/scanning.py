"""The pass over a checkpoint: every tensor in pieces of a few megabytes, whatever its size."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from mhcdiag.errors import ContainerError, MhcdiagError
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.results.verdict import Skipped
from mhcdiag.tensorfiles.element_types import BITS
from mhcdiag.tensorfiles.streams import Block, Stream, further_in, streams_of
from mhcdiag.weight_scan.codings import CODINGS
from mhcdiag.weight_scan.measuring import Pass, PlainPass
from mhcdiag.weight_scan.parts import Part, parts_of
from mhcdiag.weight_scan.tally import Summary, Tally

PIECE = 1 << 22
"""Bytes read at a time: more than a disk needs to run at full speed, and less than the second and third cache."""
SAMPLED_PIECE = 1 << 18
"""Bytes of a piece where only a share of them is read: smaller ones spread better over a tensor."""

WORTH_COMPILING = 400_000_000
"""Bytes from which compiled loops pay: NumPy reads them in less time than Numba takes to load (0.6 s)."""

Progress = Callable[[int, int], None]
"""Is told how many bytes are done, and of how many."""


@dataclass(kw_only=True, slots=True)
class Scan:
    """What a pass over a checkpoint found."""

    parts: list[tuple[Part, Summary]] = field(default_factory=list)
    """What was looked at, in the order of the checkpoint."""
    skipped: list[Skipped] = field(default_factory=list)
    """What could not be read."""
    tensors: int = 0
    """Of the checkpoint, each stored copy counted."""
    elements: int = 0
    """Values of all of them."""
    bytes_total: int = 0
    """Their bytes."""
    bytes_scanned: int = 0
    left_out: int = 0
    """Tensors that match no pattern."""
    kernel: str = ""


def scan(
    checkpoint: NamedTensors,
    *,
    match: Sequence[str] = (),
    sample: float = 1.0,
    small: Callable[[str], float] = lambda _dtype: 0.0,
    progress: Progress | None = None,
) -> Scan:
    """Look at every value.

    Parameters
    ----------
    checkpoint
        Opened.
    match
        Patterns, of which the name of a tensor must match one; none takes all tensors.
    sample
        Share of each large tensor to look at, above 0 and at most 1.
    small
        Below which absolute value an element type, given by its spelling, keeps few bits or none; 0 for any.
    progress
        Told after each piece.
    """
    found = Scan()
    todo = _planned(checkpoint, match, found)
    wanted = sum(part.stream.bytes for part in todo)
    measuring = _chosen_pass(int(wanted * sample))
    found.kernel = measuring.name
    buffer = memoryview(bytearray(PIECE))
    for part in todo:
        before = found.bytes_scanned

        def tell(count: int, before: int = before) -> None:
            found.bytes_scanned = before + count
            if progress is not None:
                progress(found.bytes_scanned, wanted)

        try:
            summary = _summary(part.stream, measuring, buffer, sample, small, tell)
        except MhcdiagError as error:
            found.skipped.append(Skipped(what=part.name, reason=str(error)))
        else:
            found.parts.append((part, summary))
    return found


def _chosen_pass(total_bytes: int) -> Pass:
    """The compiled loops where they are installed and pay, else NumPy."""
    if total_bytes >= WORTH_COMPILING:
        try:
            from mhcdiag.weight_scan.compiled import CompiledPass

            return CompiledPass()
        except (ImportError, RuntimeError):  # not installed, or nowhere to cache what was compiled
            pass
    return PlainPass()


def _planned(checkpoint: NamedTensors, match: Sequence[str], found: Scan) -> list[Part]:
    """All parts that are to be looked at; what cannot be read is noted."""
    todo = []
    tensors = checkpoint.tensors
    models = {name: info.shape for name, info in tensors.items()}
    for name in (*models, *further_in(checkpoint)):
        is_wanted = not match or any(fnmatchcase(name, pattern) for pattern in match)
        found.left_out += not is_wanted
        try:
            streams = streams_of(checkpoint, name)
        except MhcdiagError as error:
            found.tensors += 1
            found.elements += math.prod(models.get(name, ()))
            found.skipped += [Skipped(what=name, reason=str(error))] if is_wanted else []
            continue
        for stream in streams:
            found.tensors += 1
            found.bytes_total += stream.bytes
            for part in parts_of(stream, tensors):
                found.elements += math.prod(part.stream.shape)
                todo += [replace(part, is_models=name in models)] if is_wanted else []
    return todo


def _summary(
    stream: Stream,
    measuring: Pass,
    buffer: memoryview,
    sample: float,
    small: Callable[[str], float],
    tell: Callable[[int], None],
) -> Summary:
    coding = CODINGS.get(stream.dtype)
    if coding is None:
        raise ContainerError(stream.name, found=f"element type {stream.dtype}, which is not known here")
    tally = Tally(stream, coding, measuring, small=small(stream.dtype))
    elements = math.prod(stream.shape)
    for block, first, count in _chosen(list(pieces(stream, sample)), sample):
        tally.add(block.read(first, count, buffer), block, first, count)
        tell(stream.bytes * tally.scanned // elements)
    return tally.summary()


def pieces(stream: Stream, sample: float = 1.0) -> Iterator[tuple[Block, int, int]]:
    """Yield block, first element and number of elements of every piece: whole rows, or parts of one long row."""
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


def _chosen(every: list[tuple[Block, int, int]], sample: float) -> Iterator[tuple[Block, int, int]]:
    """Yield the pieces of a sample, spread evenly, the first and the last among them."""
    for number, piece in enumerate(every):
        wanted = math.floor((number + 1) * sample) > math.floor(number * sample)
        if sample == 1.0 or wanted or number in (0, len(every) - 1):
            yield piece
