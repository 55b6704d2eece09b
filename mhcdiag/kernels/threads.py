"""Independent blocks of work on the threads that torch may use."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any

import torch


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
