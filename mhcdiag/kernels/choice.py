"""Which implementation of a kernel runs: the fastest one that is there and pays.

`composite/dispatch.py` and `sinkhorn/normalise.py` hold the tables of implementations. What compiles is imported when
it is first chosen: `import numba` alone takes 0.2 s, and a small checkpoint needs nothing compiled.
"""

import os
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

MANY_MATRICES = 1_000_000
"""Matrices of one measurement (sites times tokens) above which compiled loops, a GPU or a second thread pay: below,
plain torch is done before Numba is imported (0.2 s), let alone its cached code loaded (0.4 s)."""

COMPILED_STREAMS = (2, 3, 4, 8)
"""Numbers of streams that tests hold the compiled composites to; every other one is a compilation of seconds."""

NO_NUMBA = (ImportError, RuntimeError)
"""What importing Numba's loops raises: it is not installed, or there is nowhere to cache what was compiled."""

NO_TRITON = (ImportError, RuntimeError)
"""What trying Triton raises: it is not installed, or too old, or finds no C compiler, no headers of Python, no GPU that
it knows."""

K = TypeVar("K")


@dataclass(frozen=True, kw_only=True, slots=True)
class Implementation(Generic[K]):
    """One implementation of a kernel, and when it is taken."""

    name: str
    """As the kernel says it to users, in `--verbose` and the JSON field `kernel`."""
    load: Callable[[], K | None]
    """The kernel; None where it cannot run here."""
    device: str | None = None
    """The type of device that it is for; None for any."""
    more_than: int = -1
    """Matrices of one measurement above which it pays; -1 for any number."""
    streams: Collection[int] | None = None
    """Numbers of streams that it is for; None for any."""

    def suits(self, *, device: str, streams: int, matrices: int) -> bool:
        """Whether it is worth loading for this measurement."""
        return (
            self.device in (None, device)
            and matrices > self.more_than
            and (self.streams is None or streams in self.streams)
        )


def first_that_runs(implementations: tuple[Implementation[K], ...], *, device: str, streams: int, matrices: int) -> K:
    """The first implementation that suits a measurement and runs here.

    Parameters
    ----------
    implementations
        The fastest first; the last one suits everything and runs everywhere.
    device
        Where the matrices are: `cpu`, `cuda` or `mps`.
    streams
        Number n of streams.
    matrices
        Sites times tokens, all chunks together.
    """
    for each in implementations:
        if each.suits(device=device, streams=streams, matrices=matrices) and (kernel := each.load()) is not None:
            return kernel
    raise AssertionError("the last implementation runs everywhere")


def widened(matrices: Tensor) -> Tensor:
    """In the element type that all kernels compute in: float32 for half precision, otherwise that of the matrices."""
    return matrices.float() if matrices.dtype in (torch.bfloat16, torch.float16) else matrices


def share(loop: Callable[..., None], blocks: int, arguments: tuple[Any, ...]) -> None:
    """Call `loop(first, last, *arguments)` for all blocks, split over threads, of which the calling one is one.

    Every block writes its own place, so that the numbers do not depend on the split. The loop must release the
    interpreter lock.
    """
    threads = torch.get_num_threads()
    # As few as torch may use: a launcher that runs one process a core says so by the number of torch's threads.
    workers = max(1, min(threads, blocks))
    edges = [blocks * worker // workers for worker in range(workers + 1)]
    (first, last), *others = pairwise(edges)
    running = [_others(threads - 1).submit(loop, *ends, *arguments) for ends in others]
    loop(first, last, *arguments)
    for part in running:
        part.result()  # raises what went wrong there


@cache
def _others(count: int) -> ThreadPoolExecutor:
    """All threads but the calling one, kept for the next call: to start one takes longer than a small chunk."""
    return ThreadPoolExecutor(count, thread_name_prefix="mhcdiag-kernel")


if hasattr(os, "register_at_fork"):  # not on Windows
    # Threads do not survive a fork: the child starts its own.
    os.register_at_fork(after_in_child=_others.cache_clear)
