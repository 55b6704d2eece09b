"""Runs inside one log, and the records of each of their steps: resumes that go back, runs appended to a file, ranks.

A log that is read whole and one that grows go through the same course, in the order in which they were written.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mhcdiag.runlogs.log_table import LogTable, Run, Writers

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


def goes_back_to_start(
    step: float, *, first: float, last: float, interval: float, total: float, total_before: float
) -> bool:
    """Say whether a step that goes back begins a new run; if not, the run was resumed from a checkpoint.

    A new run begins near the first step of the one before. A planned number of steps that is gone marks a
    phase: nanochat's speedrun.log holds pre-training ("step 00000/05742"), then fine-tuning ("step 00000 (0.20%)").

    Parameters
    ----------
    step
        The new step.
    first, last
        Steps of the run so far.
    interval
        Steps between its last two records.
    total, total_before
        Planned number of steps now and before, NaN where the log does not have it.
    """
    if step <= first + 2 * interval:
        return True
    if np.isfinite(total_before) and not np.isfinite(total):
        return True
    changed = np.isfinite(total) and np.isfinite(total_before) and total != total_before
    return bool(changed and step <= first + 0.05 * (last - first))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Records:
    """Some consecutive rows of a log, as far as runs and steps go."""

    step: Floats
    """Step of each row."""
    line: Indices
    """Line of each row."""
    carries: NDArray[np.bool_]
    """Which rows carry the loss; only these move a run: evaluations may stand before or behind their step."""
    rank: Indices | None = None
    """Rank of the writers, -1 where unknown; None: never."""
    total: Floats | None = None
    """Planned number of steps, NaN where a row names none; None: never."""


@dataclass(frozen=True, slots=True)
class Span:
    """Rows that follow one another, each a record of its own."""

    first: int
    after: int


@dataclass(frozen=True, slots=True)
class Merged:
    """Rows with the loss of one step, which make one point."""

    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Late:
    """A row of a step that is over: no point, but it may be NaN."""

    row: int


@dataclass(frozen=True, slots=True)
class Rewind:
    """The run goes back to a checkpoint; `step` is written again first."""

    step: float


@dataclass(frozen=True, slots=True)
class NewRun:
    """Another run begins."""


Item = Span | Merged | Late | Rewind | NewRun

RECENT = 1 << 16
"""Points of a run that are remembered, to count those that a resume replaces: nobody goes back further."""

OPEN_STEPS = 16
"""Steps that wait for the records of other writers; what comes later counts as late."""


@dataclass(kw_only=True, slots=True)
class RunState:
    """A run as far as it is read."""

    first: float = np.nan
    last: float = np.nan
    """First and newest step with a loss."""
    interval: float = 0.0
    """Steps between the last two records with a loss."""
    total: float = np.nan
    """Planned number of steps."""
    smallest: float = np.inf
    largest: float = -np.inf
    """Of all rows that count."""
    points: int = 0
    """Steps with a loss, those that a resume replaced once."""
    replaced: int = 0
    """Points that a resume wrote again."""
    notes: list[str] = field(default_factory=list)
    """How it began, and where it was resumed."""
    recent: Floats = field(default_factory=lambda: np.empty(0))
    """Its newest steps."""

    def take(self, steps: Floats, inside: NDArray[np.bool_]) -> None:
        """Take steps with a loss, each another one than the one before; `inside`: those that count."""
        self.points += int(np.count_nonzero(inside))
        self.recent = np.concatenate([self.recent, steps[inside]])[-RECENT:]

    def rewind(self, step: float) -> None:
        """Forget the points that are written again."""
        gone = self.recent >= step
        count = int(np.count_nonzero(gone))
        self.points, self.replaced, self.recent = self.points - count, self.replaced + count, self.recent[~gone]


class RunCourse:
    """Follows the steps of a log from run to run.

    Parameters
    ----------
    writers
        How many records a step has.
    first, last
        Steps that count as points.
    """

    def __init__(self, writers: Writers, *, first: float = -np.inf, last: float = np.inf) -> None:
        self.runs = [RunState()]
        """The runs so far; the last one is read now."""
        self.merged = 0
        """Records with a loss that are no point of their own."""
        self._writers = writers
        self._inside = (first, last)
        self._rows = 0
        self._held: list[tuple[int, float]] = []
        self._open: dict[float, list[int]] = {}
        self._seen: dict[float, set[int]] = {}
        self._over: deque[float] = deque(maxlen=16 * OPEN_STEPS)
        self._newest_of: dict[int, float] = {}

    def feed(self, records: Records) -> list[Item]:
        """Take the next rows of the log; rows are numbered from 0 in the order in which they come."""
        base, self._rows = self._rows, self._rows + len(records.step)
        return self._plain(records, base) if self._writers.one else list(self._mixed(records, base))

    def finish(self) -> list[Item]:
        """Return what waited for later rows."""
        items: list[Item] = [*self._held_rows(len(self._held)), *self._close_steps(0)]
        return items

    def notes(self) -> list[str]:
        """Return what the user should know: runs, resumes, records that were merged."""
        notes = [note for run in self.runs for note in run.notes]
        writers = self._writers
        if writers.ranks:
            notes.append(f"lines of {writers.ranks} ranks: the mean of each step counts, and a NaN on any rank")
        elif writers.interleaved:
            notes.append("records of several writers at once: sorted by step")
        if self.merged and writers.several:
            notes.append(f"{self.merged:,} records of a step that has another: their mean counts, and a NaN in any")
        elif self.merged and not writers.ranks:
            notes.append(f"{self.merged:,} records of a step that has another: the first counts, and a NaN in any")
        return notes

    # One record per step

    def _plain(self, records: Records, base: int) -> list[Item]:
        items: list[Item] = []
        losses = np.flatnonzero(records.carries)
        begin, settled, count = 0, -1, len(records.step)
        behind = np.flatnonzero(self._behind(records)).tolist()
        if self._held:
            begin = settled = self._hold(items, records, base, losses, 0)
        for row in behind:
            if row < begin or row == settled:
                continue
            self._note(items, records, base, begin, row)
            if records.carries[row]:
                self._go_back(items, records, row)
                begin = row
            else:
                begin = settled = self._hold(items, records, base, losses, row)
        self._note(items, records, base, begin, count)
        return items

    def _behind(self, records: Records) -> NDArray[np.bool_]:
        """Return which rows lie behind the record with a loss before them."""
        rows = np.arange(len(records.step))
        newest = np.maximum.accumulate(np.where(records.carries, rows, -1))
        before = np.concatenate([[-1], newest[:-1]]).astype(np.int64)[: len(rows)]
        last = np.where(before >= 0, records.step[before], self.runs[-1].last)
        return np.asarray(records.step < last)

    def _note(self, items: list[Item], records: Records, base: int, first: int, after: int) -> None:
        """Pass on rows that go on."""
        if first == after:
            return
        items.append(Span(base + first, base + after))
        run, part = self.runs[-1], slice(first, after)
        step, carries = records.step[part], records.carries[part]
        self._stretch(step)
        losses = step[carries]
        if not len(losses):
            return
        moves = np.diff(losses, prepend=run.last)
        fresh = moves != 0
        self.merged += int(np.count_nonzero(~fresh))
        run.take(losses[fresh], self._counts(losses[fresh]))
        self._move(losses, records.total[part][carries] if records.total is not None else None)

    def _hold(self, items: list[Item], records: Records, base: int, losses: Indices, first: int) -> int:
        """Keep rows without a loss that lie behind until the next loss shows whether a new run begins."""
        after = int(losses[np.searchsorted(losses, first)]) if len(losses) and losses[-1] >= first else -1
        end = after if after >= 0 else len(records.step)
        self._held += [(base + row, float(records.step[row])) for row in range(first, end)]
        if after >= 0 and records.step[after] < self.runs[-1].last:
            self._go_back(items, records, after)
        elif after >= 0:
            items.extend(self._held_rows(len(self._held)))
        return end

    def _go_back(self, items: list[Item], records: Records, row: int) -> None:
        run, step = self.runs[-1], float(records.step[row])
        total = np.nan if records.total is None else float(records.total[row])
        new = goes_back_to_start(
            step, first=run.first, last=run.last, interval=run.interval, total=total, total_before=run.total
        )
        if not new:
            items.extend(self._held_rows(len(self._held)))
            items.append(Rewind(step))
            run.notes.append(f"resumed at {number_text(step)} from {number_text(run.last)}")
            run.rewind(step)
            run.last, run.interval = np.nan, 0.0
            return
        # An evaluation in between goes to the nearer step.
        nearer = (at for at, (_, one) in enumerate(self._held) if abs(one - step) < abs(one - run.last))
        items.extend(self._held_rows(next(nearer, len(self._held))))
        items.append(NewRun())
        after = f"step {number_text(step)} after {number_text(run.last)}"
        self.runs.append(RunState(notes=[f"a new run begins in line {records.line[row]:,}: {after}"]))
        items.extend(self._held_rows(len(self._held)))

    def _held_rows(self, count: int) -> Iterator[Item]:
        for row, step in self._held[:count]:
            self._stretch(np.array([step]))
            yield Span(row, row + 1)
        del self._held[:count]

    def _move(self, losses: Floats, total: Floats | None) -> None:
        run = self.runs[-1]
        before = losses[-2] if len(losses) > 1 else run.last
        run.interval = 0.0 if np.isnan(before) else float(losses[-1] - before)
        run.first = float(losses[0]) if np.isnan(run.first) else run.first
        run.last = float(losses[-1])
        run.total = np.nan if total is None else float(total[-1])

    def _stretch(self, step: Floats) -> None:
        run, counted = self.runs[-1], step[self._counts(step)]
        if len(counted):
            run.smallest, run.largest = min(run.smallest, counted.min()), max(run.largest, counted.max())

    def _counts(self, step: Floats) -> NDArray[np.bool_]:
        return (step >= self._inside[0]) & (step <= self._inside[1])

    # Several records per step

    def _mixed(self, records: Records, base: int) -> Iterator[Item]:
        ranks = None if records.rank is None else records.rank.tolist()
        rows = zip(records.step.tolist(), records.carries.tolist(), strict=True)
        for row, (step, carries) in enumerate(rows):
            if not carries:
                self._stretch(records.step[row : row + 1])
                yield Span(base + row, base + row + 1)
                continue
            rank = -1 if ranks is None else ranks[row]
            yield from self._record(records, base, row, step, rank)

    def _record(self, records: Records, base: int, row: int, step: float, rank: int) -> Iterator[Item]:
        run, items = self.runs[-1], list[Item]()
        if step not in self._open:
            if self._is_late(step, rank):
                self.merged += 1
                yield Late(base + row)
                return
            if step < run.last and not self._may_wait(step, rank):
                yield from self._close_steps(0)
                self._go_back(items, records, row)
                yield from items
                self._over.clear()
                self._newest_of.clear()
            elif not (self._writers.ranks or self._writers.interleaved):
                yield from self._close_steps(0)
        self.merged += step in self._open
        self._open.setdefault(step, []).append(base + row)
        self._seen.setdefault(step, set()).add(rank)
        self._newest_of[rank] = step
        run = self.runs[-1]
        if np.isnan(run.last) or step > run.last:
            self._move(np.array([step]), None if records.total is None else records.total[row : row + 1])
        yield from self._close_steps(OPEN_STEPS, complete=True)

    def _is_late(self, step: float, rank: int) -> bool:
        """Say whether a step is over: its point is made."""
        if step not in self._over:
            return False
        if self._writers.interleaved or not self._writers.ranks:
            return True
        return step >= self._newest_of.get(rank, -np.inf)

    def _may_wait(self, step: float, rank: int) -> bool:
        """Say whether a step that lies behind may be that of a writer who is behind."""
        if self._over and step < self._over[0]:
            return False
        if self._writers.ranks and step > self._newest_of.get(rank, -np.inf):
            return True
        return self._writers.interleaved

    def _close_steps(self, most: int, *, complete: bool = False) -> Iterator[Item]:
        """Make points of the oldest steps until at most some are open; `complete`: those that nothing is missing of."""
        while self._open:
            step = min(self._open)
            if len(self._open) <= most and not (complete and self._is_complete(step)):
                return
            rows = self._open.pop(step)
            del self._seen[step]
            self._over.append(step)
            self._stretch(np.array([step]))
            self.runs[-1].take(np.array([step]), self._counts(np.array([step])))
            yield Merged(tuple(rows))

    def _is_complete(self, step: float) -> bool:
        writers = self._writers
        if writers.ranks:
            return len(self._seen[step]) >= writers.ranks
        return writers.several and writers.records > 0 and len(self._open[step]) >= writers.records


def split_runs(table: LogTable) -> list[Run]:
    """Split the table of one log into the runs that wrote it: at least one if the table has rows."""
    if not len(table.step):
        return []
    course = RunCourse(table.writers)
    items = [*course.feed(records_of(table)), *course.finish()]
    step = table.step.astype(np.float64)
    carries = _carries(table)
    parts: list[tuple[list[int], list[int]]] = [([], [])]
    last = np.nan
    for item in items:
        kept, out = parts[-1]
        if isinstance(item, NewRun):
            parts.append(([], []))
            last = np.nan
        elif isinstance(item, Rewind):
            out.extend(row for row in kept if step[row] >= item.step)
            kept[:] = [row for row in kept if step[row] < item.step]
            last = np.nan
        elif isinstance(item, Span):
            for row in range(item.first, item.after):
                again = "loss" in table.columns and bool(carries[row]) and step[row] == last
                (out if again else kept).append(row)
                last = step[row] if carries[row] else last
        else:
            rows = sorted(item.rows, key=_rank_in(table)) if isinstance(item, Merged) else [item.row]
            kept.extend(rows[:1] if isinstance(item, Merged) else ())
            out.extend(rows[1:] if isinstance(item, Merged) else rows)
    runs = [_run(step, *part, state) for part, state in zip(parts, course.runs, strict=True)]
    more = course.notes()[sum(len(state.notes) for state in course.runs) :]
    return [*runs[:-1], _with_notes(runs[-1], more)]


def _rank_in(table: LogTable) -> Callable[[int], int]:
    return lambda row: 0 if table.rank is None else int(table.rank[row])


def records_of(table: LogTable, rows: slice = slice(None)) -> Records:
    """Return rows of a table as the course of runs takes them."""
    return Records(
        step=table.step[rows].astype(np.float64),
        line=table.line[rows],
        carries=_carries(table)[rows],
        rank=None if table.rank is None else table.rank[rows],
        total=None if table.total_steps is None else table.total_steps[rows],
    )


def _carries(table: LogTable) -> NDArray[np.bool_]:
    if "loss" not in table.columns:
        return np.ones(len(table.step), dtype=np.bool_)
    rows = np.isfinite(table.columns["loss"])
    return rows | table.nan_rows["loss"] if "loss" in table.nan_rows else rows


def _run(step: Floats, kept: Sequence[int], out: Sequence[int], state: RunState) -> Run:
    rows = np.array(kept, dtype=np.int64)
    return Run(
        rows=rows[np.argsort(step[rows], kind="stable")],
        replaced=np.sort(np.array(out, dtype=np.int64)),
        first_step=state.smallest,
        last_step=state.largest,
        points=state.points,
        notes=tuple(state.notes),
    )


def _with_notes(run: Run, notes: Sequence[str]) -> Run:
    return Run(
        rows=run.rows,
        replaced=run.replaced,
        first_step=run.first_step,
        last_step=run.last_step,
        points=run.points,
        notes=(*run.notes, *notes),
    )


def number_text(step: float) -> str:
    """Return a step as notes show it."""
    return f"{step:,.0f}" if float(step).is_integer() else f"{step:,g}"
