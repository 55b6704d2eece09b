"""Independent blocks of work on the threads that torch may use."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import torch


def share(loop: Callable[..., None], blocks: int, arguments: tuple[Any, ...]) -> None:
    """Call `loop(first, last, *arguments)` for all blocks, split over threads.

    Every block writes its own place, so that the numbers do not depend on the split. The loop must release the
    interpreter lock.
    """
    workers = max(1, min(torch.get_num_threads(), blocks))
    edges = [blocks * worker // workers for worker in range(workers + 1)]
    if workers == 1:
        loop(0, blocks, *arguments)
        return
    with ThreadPoolExecutor(workers) as pool:
        for done in [pool.submit(loop, first, last, *arguments) for first, last in pairwise(edges)]:
            done.result()
