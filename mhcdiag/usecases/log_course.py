"""The rows of a log, whole or as far as it is written, on their way to what watches them: run by run, step by step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mhcdiag.detectors import LogWatcher, RecordBlock
from mhcdiag.results.spikes import RunSpan
from mhcdiag.runlogs.log_table import Writers
from mhcdiag.runlogs.runs import Item, Late, Merged, NewRun, Records, Rewind, RunCourse, Span

LOSS = "loss"

Rows = NDArray[np.int64] | slice


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Taken:
    """Some rows of a log."""

    block: RecordBlock
    """Their records."""
    rank: NDArray[np.int64] | None
    """Rank of the writer of each row, -1 where it is not known; None: never."""


class RowStore(Protocol):
    """Where the rows of a log are kept until they are judged."""

    def take(self, rows: Rows) -> Taken:
        """Return rows by their numbers, each of which is asked for once."""
        ...


class LogCourse:
    """Feeds a watcher with the rows of a log in the order in which they were written.

    Rows that a resume replaced are judged as well: the spike for whose sake somebody went back is among them.

    Parameters
    ----------
    watcher
        Takes the records.
    store
        Gives the rows.
    writers
        How many records a step has.
    steps
        First and last step that count.
    """

    def __init__(self, watcher: LogWatcher, store: RowStore, writers: Writers, steps: tuple[float, float]) -> None:
        self._watcher = watcher
        self._store = store
        self._first, self._last = steps
        self._course = RunCourse(writers, first=self._first, last=self._last)

    def feed(self, records: Records) -> None:
        """Take the next rows, which the store holds under the next numbers."""
        self._follow(self._course.feed(records))

    def finish(self) -> None:
        """End the log."""
        self._follow(self._course.finish())
        self._watcher.finish()

    @property
    def merged(self) -> int:
        """Records with a loss that are no point of their own."""
        return self._course.merged

    @property
    def replaced(self) -> int:
        """Points that a resume wrote again."""
        return sum(run.replaced for run in self._course.runs)

    def notes(self) -> list[str]:
        """Return what the user should know of runs and ranks."""
        return self._course.notes()

    def spans(self) -> tuple[RunSpan, ...]:
        """Return the runs so far."""
        return tuple(
            RunSpan(first_step=float(run.smallest), last_step=float(run.largest), points=run.points)
            if run.smallest <= run.largest
            else RunSpan(first_step=np.nan, last_step=np.nan, points=0)
            for run in self._course.runs
        )

    def _follow(self, items: Sequence[Item]) -> None:
        groups: list[tuple[int, ...]] = []
        for item in items:
            if isinstance(item, Merged):
                groups.append(item.rows)
            elif isinstance(item, Span) and item.after == item.first + 1:
                groups.append((item.first,))
            else:
                self._feed_groups(groups)
                self._feed_other(item)
        self._feed_groups(groups)

    def _feed_other(self, item: Item) -> None:
        if isinstance(item, Span):
            self._watcher.feed(self._within(self._store.take(slice(item.first, item.after)).block))
        elif isinstance(item, Late):
            block = self._within(self._store.take(np.array([item.row])).block)
            # The point of its step is made: all that still counts is a NaN.
            self._watcher.feed(_only_bad(block))
        elif isinstance(item, Rewind):
            self._watcher.rewind(item.step)
        elif isinstance(item, NewRun):
            self._watcher.new_run()

    def _feed_groups(self, groups: list[tuple[int, ...]]) -> None:
        if not groups:
            return
        sizes = np.array([len(rows) for rows in groups])
        taken = self._store.take(np.array([row for rows in groups for row in rows], dtype=np.int64))
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        block = taken.block if len(starts) == len(taken.block.step) else _mean(taken.block, starts)
        self._watcher.feed(self._within(block))
        if LOSS in taken.block.columns:
            self._compare(taken, starts, sizes)
        groups.clear()

    def _compare(self, taken: Taken, starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> None:
        losses, rank = taken.block.columns[LOSS], taken.rank
        for start, size in zip(starts.tolist(), sizes.tolist(), strict=True):
            step = float(taken.block.step[start])
            if size < 3 or not self._first <= step <= self._last:
                continue
            rows = np.arange(start, start + size)[np.isfinite(losses[start : start + size])]
            self._watcher.ranks(
                step=step,
                line=int(taken.block.line[start]),
                losses=losses[rows].tolist(),
                ranks=[-1] * len(rows) if rank is None else rank[rows].tolist(),
            )

    def _within(self, block: RecordBlock) -> RecordBlock:
        if self._first == -np.inf and self._last == np.inf:
            return block
        inside = (block.step >= self._first) & (block.step <= self._last)
        return RecordBlock(
            step=block.step[inside],
            line=block.line[inside],
            columns={name: column[inside] for name, column in block.columns.items()},
            bad={name: bad[inside] for name, bad in block.bad.items()},
            others=block.others,
        )


def _mean(block: RecordBlock, starts: NDArray[np.int64]) -> RecordBlock:
    """Return the mean of the records of each step; it is not finite where any of them is not."""
    bad = {name: np.logical_or.reduceat(one, starts) for name, one in block.bad.items()}
    columns = {}
    for name, column in block.columns.items():
        known = np.isfinite(column)
        count = np.add.reduceat(known.astype(np.int64), starts)
        total = np.add.reduceat(np.where(known, column, 0.0), starts)
        mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        columns[name] = np.where(bad[name], np.nan, mean) if name in bad else mean
    return RecordBlock(step=block.step[starts], line=block.line[starts], columns=columns, bad=bad, others=block.others)


def _only_bad(block: RecordBlock) -> RecordBlock:
    """Return records without the values that are finite."""
    return RecordBlock(
        step=block.step,
        line=block.line,
        columns={name: np.full(len(block.step), np.nan) for name in block.columns},
        bad=block.bad,
        others=block.others,
    )
