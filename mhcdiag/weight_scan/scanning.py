"""The pass over a checkpoint: every tensor in pieces of a few megabytes, whatever its size."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from mhcdiag.errors import MhcdiagError
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.results.verdict import Skipped
from mhcdiag.tensorfiles.places import is_remote
from mhcdiag.tensorfiles.streams import further_in, streams_of
from mhcdiag.weight_scan.codings import CODINGS
from mhcdiag.weight_scan.measuring import Pass, PlainPass
from mhcdiag.weight_scan.parts import Part, parts_of
from mhcdiag.weight_scan.reading import AHEAD, read_in_order
from mhcdiag.weight_scan.tally import Summary, Tally

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
    tally: Tally | None = None
    is_skipped = False
    before = 0  # bytes of the parts that are done
    for piece in read_in_order(todo, sample=sample, ahead=AHEAD if is_remote(checkpoint.path) else 0):
        part, stream = piece.part, piece.part.stream
        if tally is None and piece.error is None:
            tally = Tally(stream, CODINGS[stream.dtype], measuring, small=small(stream.dtype))
        if piece.error is not None:
            found.skipped += [] if is_skipped else [Skipped(what=part.name, reason=str(piece.error))]
            is_skipped = True
        elif not is_skipped and tally is not None and piece.block is not None and piece.data is not None:
            tally.add(piece.data, piece.block, piece.first, piece.count)
            found.bytes_scanned = before + stream.bytes * tally.scanned // math.prod(stream.shape)
        if progress is not None and piece.block is not None:
            progress(found.bytes_scanned, wanted)
        if piece.ends:
            if not is_skipped and tally is not None:
                found.parts.append((part, tally.summary()))
            tally, is_skipped, before = None, False, found.bytes_scanned
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
