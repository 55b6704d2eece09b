"""Work on several threads: every block once, errors of threads told, and still there after a fork."""

import multiprocessing
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from mhcdiag.kernels.choice import share


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def count(first: int, last: int, seen: np.ndarray) -> None:
    seen[first:last] += 1


def refuse_the_last(first: int, last: int, blocks: int) -> None:
    del first
    if last == blocks:
        raise MemoryError("the last block")


def counted(blocks: int) -> list[int]:
    seen = np.zeros(blocks, np.int64)
    share(count, blocks, (seen,))
    return seen.tolist()


@pytest.mark.parametrize("blocks", [1, 2, 3, 100])
def test_every_block_is_worked_on_once(blocks: int):
    assert counted(blocks) == [1] * blocks


def test_an_error_in_another_thread_is_raised_here():
    with pytest.raises(MemoryError, match="the last block"):
        share(refuse_the_last, 9, (9,))


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own():
    """As a data loader's workers do: they inherit the list of threads, not the threads."""
    assert counted(9) == [1] * 9
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply_async(counted, (9,)).get(timeout=20) == [1] * 9
