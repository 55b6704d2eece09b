"""Processes that share one measurement, as `torchrun` starts them."""

import io
import os
import pickle
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol, TypeVar, runtime_checkable

from mhcdiag.errors import RankError

Part = TypeVar("Part")
Item = TypeVar("Item")

PATIENCE = timedelta(minutes=30)
"""How long a rank waits for the others before it gives up: one may have a far larger share than the rest. A rank that
dies is noticed at once, when its connection closes."""
SOON = 15.0
"""Seconds after which it says that it waits."""


@runtime_checkable
class Ranks(Protocol):
    """The processes of one job; every method is called by all of them alike."""

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""

    @property
    def count(self) -> int:
        """Number of processes."""

    def gather(self, part: Part) -> list[Part]:
        """The parts of all ranks, in order of rank, on rank 0; elsewhere an empty list."""

    def gather_all(self, parts: Iterable[Part]) -> list[Part]:
        """Every part of every rank, rank after rank, on rank 0; elsewhere an empty list.

        A part is packed as soon as it is there: small objects that were made among large ones, and kept, would keep the
        heap around them from being used again.
        """

    def share(self, found: Part | None) -> Part:
        """What rank 0 found."""

    def wait(self) -> None:
        """Until all have come here: a launcher ends the others as soon as one of them has failed a gate."""


@dataclass(frozen=True, slots=True)
class Alone:
    """One process."""

    rank: int = 0
    count: int = 1

    def gather(self, part: Part) -> list[Part]:
        """See `Ranks`."""
        return [part]

    def gather_all(self, parts: Iterable[Part]) -> list[Part]:
        """See `Ranks`."""
        return list(parts)

    def share(self, found: Part | None) -> Part:
        """See `Ranks`."""
        assert found is not None
        return found

    def wait(self) -> None:
        """See `Ranks`."""


@dataclass(frozen=True, slots=True)
class Distributed:
    """Processes joined by torch.distributed."""

    rank: int
    count: int

    def gather(self, part: Part) -> list[Part]:
        """See `Ranks`."""
        from torch import distributed

        parts: list[bytes | None] | None = [None] * self.count if self.rank == 0 else None
        with _lost_ranks_named():
            distributed.gather_object(packed(part), parts)
        return [unpacked(part) for part in parts or [] if part is not None]

    def gather_all(self, parts: Iterable[Part]) -> list[Part]:
        """See `Ranks`."""
        of_ranks = self.gather([packed(part) for part in parts])
        return [unpacked(part) for of_rank in of_ranks for part in of_rank]

    def share(self, found: Part | None) -> Part:
        """See `Ranks`."""
        from torch import distributed

        box = [packed(found)]
        with _lost_ranks_named():
            distributed.broadcast_object_list(box)
        shared: Part = unpacked(box[0])
        return shared

    def wait(self) -> None:
        """See `Ranks`."""
        from torch import distributed

        sys.stdout.flush()
        with _lost_ranks_named():
            distributed.barrier()


def deal(items: Sequence[Item], work: Callable[[Sequence[Item]], list[Part]], ranks: Ranks) -> list[Part]:
    """Work on all items, of which each rank takes every `count`-th.

    Parameters
    ----------
    items
        The same on all ranks.
    work
        From some of the items to as many results, which can be pickled.
    ranks
        The processes; all of them call this alike.

    Returns
    -------
    list
        The results in the order of the items, on every rank.
    """
    of_ranks = ranks.gather(work(items[ranks.rank :: ranks.count]))
    every = [of_ranks[item % ranks.count][item // ranks.count] for item in range(len(items))] if of_ranks else None
    return ranks.share(every)


def under_torchrun() -> bool:
    """Whether `torchrun` (or a launcher like it) started this process as one of several."""
    size = os.environ.get("WORLD_SIZE", "1")
    if "RANK" not in os.environ or size == "1":
        return False
    if not size.isdecimal():
        raise RankError(f"WORLD_SIZE={size!r}: expected a number of processes; unset RANK and WORLD_SIZE to run alone")
    return int(size) > 1


@contextmanager
def joined_ranks() -> Iterator[Ranks]:
    """All processes that were started together; `Alone` where there is only one.

    What travels between them are small results, over gloo, wherever the products are computed.

    Raises
    ------
    RankError
        Another process is gone.
    """
    if not under_torchrun():
        yield Alone()
        return
    import torch
    from torch import distributed

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    with _lost_ranks_named(), _said_after(SOON):
        distributed.init_process_group("gloo", timeout=PATIENCE)
    try:
        yield Distributed(rank=distributed.get_rank(), count=distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


@contextmanager
def _said_after(seconds: float) -> Iterator[None]:
    """Say on stderr what is waited for.

    A command that a training job starts inherits its RANK and WORLD_SIZE, and would wait for processes that nobody
    starts.
    """
    words = (
        f"waiting for {os.environ['WORLD_SIZE']} processes, as WORLD_SIZE says; unset RANK and WORLD_SIZE to run alone"
    )
    timer = threading.Timer(seconds, lambda: print(f"mhcdiag: {words}", file=sys.stderr, flush=True))  # noqa: T201
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def _lost_ranks_named() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, OSError, ValueError) as error:  # ValueError: MASTER_ADDR is not set
        reason = str(error).partition("\n")[0]
        raise RankError(f"rank {os.environ.get('RANK', '?')} lost the others: {reason}") from error


def packed(found: object) -> bytes:
    """The bytes of an object that can be pickled."""
    file = io.BytesIO()
    _Packer(file, protocol=pickle.HIGHEST_PROTOCOL).dump(found)
    return file.getvalue()


def unpacked(data: bytes) -> Any:
    """What `packed` took, in another process of the same job: never for bytes from anywhere else."""
    return pickle.loads(data)


class _Packer(pickle.Pickler):
    """Pickles tensors as NumPy arrays: torch writes an archive for each, which takes longer than measuring a chunk."""

    def reducer_override(self, found: Any) -> Any:
        """Give tensors that NumPy knows a form of their own, and leave the rest to pickle."""
        # Asked for every object; a log's ranks send records without tensors, and run where torch is not installed.
        if type(found).__module__ != "torch":
            return NotImplemented
        import torch

        if type(found) is not torch.Tensor or found.requires_grad or found.is_sparse:
            return NotImplemented
        try:
            return torch.from_numpy, (found.cpu().numpy(),)
        except TypeError:  # an element type that NumPy does not know
            return NotImplemented
