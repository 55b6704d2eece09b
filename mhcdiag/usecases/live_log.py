"""A log that still grows: bytes in, opened and closed events out, in constant memory but for the events."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mhcdiag.detectors import LogWatcher, RecordBlock
from mhcdiag.results.spikes import Event, LogResult, RunSpan
from mhcdiag.runlogs import Entry, LineReader, Restart, Row
from mhcdiag.runlogs.runs import goes_back_to_start
from mhcdiag.usecases.log_judging import (
    GRADIENT_NORM,
    LOSS,
    LOSS_SCALE,
    SKIPPED,
    LogFacts,
    other_series,
    report,
    to_message,
    watcher_of,
)
from mhcdiag.usecases.options import LogOptions


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """An event that has just opened or closed."""

    series: str
    """Name of the series."""
    event: Event
    """The event as it stands."""
    opened: bool
    """False when it closed."""


@dataclass(kw_only=True, slots=True)
class _Run:
    """The run that is written now."""

    first: float = math.nan
    last: float = math.nan
    smallest: float = math.inf
    largest: float = -math.inf
    interval: float = 0.0
    total: float = math.nan
    points: int = 0

    def span(self) -> RunSpan:
        """Return what is known of the run."""
        return RunSpan(first_step=self.smallest, last_step=self.largest, points=self.points)


class LiveLog:
    """Reads and judges a log piece by piece.

    Parameters
    ----------
    path
        For the result.
    options
        How to read and judge it.

    Raises
    ------
    SettingError
        The options name what there is not.
    LogError
        The format cannot be followed.
    """

    def __init__(self, path: str, options: LogOptions) -> None:
        self._path = path
        self._options = options
        self._reader = LineReader(
            path=path,
            log_format=options.log_format,
            loss_key=options.loss_key,
            step_key=options.step_key,
            regex=options.regex,
        )
        self._names = tuple(dict.fromkeys([LOSS, GRADIENT_NORM, *options.series]))
        self._watcher: LogWatcher | None = None
        self._others: dict[str, bool] = {}
        self._rows: list[Row] = []
        self._run = _Run()
        self._spans: list[RunSpan] = []
        self._notes: list[str] = []
        self._open: set[tuple[str, int, float]] = set()
        self._closed: dict[str, int] = {}
        self._messages: dict[str, int] = {}
        self._rank: int | None = None

    def feed(self, data: bytes) -> list[Change]:
        """Take the next bytes, cut anywhere, and return the events that opened or closed with them."""
        self._take(self._reader.feed(data))
        return self._changes()

    def close(self) -> list[Change]:
        """End the log and return the last changes.

        Raises
        ------
        LogError
            Nothing could be read.
        """
        self._take(self._reader.close())
        changes = self._changes()
        if self._watcher is not None:
            self._watcher.finish()
        return changes

    def result(self) -> LogResult:
        """Return the result as it stands now."""
        watcher = self._watcher or watcher_of(self._options, self._names, log_format="")
        facts = LogFacts(
            path=self._path,
            format=self._reader.format or "unknown",
            rule=self._options.rule,
            warmup=self._options.settings().warmup,
            lines=self._reader.lines,
            loss_lines=self._reader.loss_lines,
            unreadable_lines=self._reader.unreadable_lines,
            source_names=self._reader.source_names,
            runs=(*self._spans, *((self._run.span(),) if self._run.points else ())),
            notes=(*self._reader.notes, *self._notes),
        )
        return report(watcher, facts)

    def _take(self, entries: Sequence[Entry]) -> None:
        if self._watcher is None and entries:
            self._watcher = watcher_of(self._options, self._names, log_format=self._reader.format or "")
        for entry in entries:
            assert self._watcher is not None
            if isinstance(entry, Restart):
                self._begin_again()
                continue
            if not isinstance(entry, Row):
                self._flush()  # a message counts for the records before it, so that they must be judged first
                self._watcher.message(to_message(entry))
                continue
            if self._foreign(entry):
                continue
            # Only records with a loss move the run: evaluations may stand before or behind the record of their step.
            if LOSS in entry.values or LOSS in entry.nan:
                self._follow_steps(entry)
            if self._options.first_step <= entry.step <= self._options.last_step:
                self._rows.append(entry)
        self._flush()

    def _begin_again(self) -> None:
        self._watcher = watcher_of(self._options, self._names, log_format=self._reader.format or "")
        self._rows, self._run, self._spans, self._notes, self._rank = [], _Run(), [], [], None
        self._open, self._closed, self._messages = set(), {}, {}

    def _foreign(self, row: Row) -> bool:
        """Say whether the row comes from a rank that does not count: the lowest one does.

        Ranks that print the losses of their own micro-batches would make one very noisy series together.
        """
        if row.rank is not None and (self._rank is None or row.rank < self._rank):
            self._rank = row.rank
        return row.rank is not None and row.rank != self._rank

    def _follow_steps(self, row: Row) -> None:
        """Notice a resume or a new run."""
        run = self._run
        if row.step < run.last:
            self._flush()
            assert self._watcher is not None
            new = goes_back_to_start(
                row.step,
                first=run.first,
                last=run.last,
                interval=run.interval,
                total=row.total_steps,
                total_before=run.total,
            )
            if new:
                self._watcher.new_run()
                self._spans.append(run.span())
                self._notes.append(f"a new run begins in line {row.line:,}: step {row.step:,g} after {run.last:,g}")
                run = self._run = _Run()
            else:
                self._watcher.rewind(row.step)
                self._notes.append(f"resumed at {row.step:,g} from {run.last:,g}")
        if run.points:
            run.interval = max(row.step - run.last, 0.0)
        else:
            run.first = row.step
        run.last, run.total, run.points = row.step, row.total_steps, run.points + 1
        run.smallest, run.largest = min(run.smallest, row.step), max(run.largest, row.step)

    def _flush(self) -> None:
        rows, self._rows = self._rows, []
        if not rows:
            return
        assert self._watcher is not None
        self._others |= other_series({name: None for row in rows for name in row.values}, self._names)
        names = [*self._names, *self._others, LOSS_SCALE, SKIPPED]
        self._watcher.feed(
            RecordBlock(
                step=np.array([row.step for row in rows], dtype=np.float64),
                line=np.array([row.line for row in rows], dtype=np.int64),
                columns={name: np.array([row.values.get(name, np.nan) for row in rows]) for name in names},
                bad={name: np.array([name in row.nan for row in rows]) for name in names},
                others=self._others,
            )
        )

    def _changes(self) -> list[Change]:
        """Compare what is open and closed now with what was before."""
        changes: list[Change] = []
        if self._watcher is None:
            return changes
        for name, watcher in self._watcher.series.items():
            before = self._closed.get(name, 0)
            self._closed[name] = len(watcher.closed)
            for event in watcher.closed[before:]:
                key = (name, event.run, event.start)
                if key not in self._open:  # it opened and closed within the bytes of one block
                    changes.append(Change(series=name, event=event, opened=True))
                self._open.discard(key)
                changes.append(Change(series=name, event=event, opened=False))
            for event in watcher.open_events():
                key = (name, event.run, event.start)
                if key not in self._open:
                    self._open.add(key)
                    changes.append(Change(series=name, event=event, opened=True))
        changes += self._announced(LOSS_SCALE, self._watcher.scaler_events())
        changes += self._announced(LOSS, self._watcher.nan_messages())
        return changes

    def _announced(self, name: str, events: Sequence[Event]) -> list[Change]:
        """Return the events that messages and the scaler opened since the last time."""
        before = self._messages.get(name, 0)
        self._messages[name] = len(events)
        return [Change(series=name, event=event, opened=True) for event in events[before:]]
