"""Several toy runs at once, each in a process of its own with one thread: the operations are too small for more.

Every run depends on its settings alone, so the files are the same however many train at once.
"""

import multiprocessing
import os
import queue
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mhcdiag.errors import SettingError
from mhcdiag.results.toy import StepRow, ToyRun
from mhcdiag.toy.settings import ToySettings
from mhcdiag.toy.topologies import topology_for
from mhcdiag.toy.training import choose_device, train

POLL = 0.1
"""Seconds between two looks at what the runs have reported."""

OnStepOf = Callable[[int, StepRow], None]
"""Called with the place of the run in the list, and its step."""

_reports: list[Any] = []
"""In a worker process: the one queue on which it reports its steps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedRun:
    """One run to train, and what to do with the folder if it is there."""

    settings: ToySettings
    folder: Path
    force: bool
    resume: bool


def jobs_for(settings: Sequence[ToySettings], asked: int | None) -> int:
    """How many of the runs to train at once: as asked, else one per usable CPU core; on a GPU one after another."""
    if any(choose_device(each).type != "cpu" for each in settings):
        return 1
    return min(len(settings), asked or usable_cores())


def usable_cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def train_together(planned: Sequence[PlannedRun], *, jobs: int, on_step: OnStepOf | None = None) -> list[ToyRun]:
    """Train all runs, at most `jobs` at once.

    Parameters
    ----------
    planned
        The runs.
    jobs
        Processes; 1 trains in this one.
    on_step
        Called in this process with every step of every run.

    Returns
    -------
    list of ToyRun
        In the order of `planned`.

    Raises
    ------
    MhcdiagError
        The first one that a run raised; the others are then ended where they are.
    """
    if jobs == 1:
        return [_train(each, None if on_step is None else _with_place(on_step, i)) for i, each in enumerate(planned)]
    context = multiprocessing.get_context("spawn")  # a fork would inherit the threads of a loaded torch
    reports = context.Queue()
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_start_worker, initargs=(reports,))
    longest_first = sorted(range(len(planned)), key=lambda i: -_mixing(planned[i]))
    futures: dict[Future[ToyRun], int] = {}
    try:
        for i in longest_first:
            futures[pool.submit(_train_in_worker, i, planned[i])] = i
        _wait(futures, reports, on_step)
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
    found = {i: future.result() for future, i in futures.items()}
    return [found[i] for i in range(len(planned))]


def _wait(futures: dict[Future[ToyRun], int], reports: Any, on_step: OnStepOf | None) -> None:
    waiting = set(futures)
    while waiting:
        done, waiting = wait(waiting, timeout=POLL, return_when=FIRST_COMPLETED)
        for place, row in _reported(reports):
            if on_step is not None:
                on_step(place, row)
        for future in done:
            try:
                future.result()
            except BrokenProcessPool as error:
                raise SettingError("a training process was ended from outside; --jobs 1 needs less memory") from error


def _reported(reports: Any) -> list[tuple[int, StepRow]]:
    rows = []
    while True:
        try:
            rows.append(reports.get_nowait())
        except queue.Empty:
            return rows


def _mixing(planned: PlannedRun) -> int:
    """Larger for topologies that take longer: those with streams, and most of all those that mix them."""
    topology = topology_for(planned.settings)
    return topology.streams_mix + topology.streams(planned.settings)


def _with_place(on_step: OnStepOf, place: int) -> Callable[[StepRow], None]:
    return lambda row: on_step(place, row)


def _train(planned: PlannedRun, on_step: Callable[[StepRow], None] | None) -> ToyRun:
    return train(planned.settings, planned.folder, force=planned.force, resume=planned.resume, on_step=on_step)


def _start_worker(reports: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets the interrupt, and ends its workers
    _reports.append(reports)


def _train_in_worker(place: int, planned: PlannedRun) -> ToyRun:
    parent = multiprocessing.parent_process()

    def report(row: StepRow) -> None:
        if parent is not None and not parent.is_alive():
            os._exit(1)  # nobody waits for this run any more; an exception would only end it, not the worker
        _reports[0].put((place, row))

    return _train(planned, report)
