"""A log that still grows: bytes in, opened and closed events out, in constant memory but for the events."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mhcdiag.detectors import RecordBlock
from mhcdiag.results.spikes import Event, LogResult
from mhcdiag.runlogs import Entry, LineReader, Restart, Row, ScalerEvent
from mhcdiag.runlogs.log_table import Writers
from mhcdiag.runlogs.runs import Records
from mhcdiag.usecases.log_course import LogCourse, Rows, Taken
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


class _NewRows:
    """Rows that were read and not judged yet, by their numbers."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._others: dict[str, bool] = {}
        self._rows: dict[int, Row] = {}
        self._count = 0

    def add(self, rows: Sequence[Row]) -> None:
        """Take the next rows of the log."""
        self._others |= other_series({name: None for row in rows for name in row.values}, self._names)
        self._rows |= {self._count + at: row for at, row in enumerate(rows)}
        self._count += len(rows)

    def take(self, rows: Rows) -> Taken:
        """Return rows by their numbers, and forget them."""
        numbers = range(rows.start, rows.stop) if isinstance(rows, slice) else rows.tolist()
        found = [self._rows.pop(number) for number in numbers]
        names = [*self._names, *self._others, LOSS_SCALE, SKIPPED]
        block = RecordBlock(
            step=np.array([row.step for row in found], dtype=np.float64),
            line=np.array([row.line for row in found], dtype=np.int64),
            columns={name: np.array([row.values.get(name, np.nan) for row in found]) for name in names},
            bad={name: np.array([name in row.nan for row in found], dtype=np.bool_) for name in names},
            others=dict(self._others),
        )
        return Taken(block=block, rank=_ranks(found))


def _ranks(rows: Sequence[Row]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array([-1 if row.rank is None else row.rank for row in rows], dtype=np.int64)


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
        self._begin()

    def _begin(self) -> None:
        """Know nothing of the log, or nothing any more: it must be read otherwise."""
        self._begun = False
        self._store = _NewRows(self._names)
        self._course = self._course_of(Writers())
        self._new: list[Row] = []
        self._open: set[tuple[str, int, float]] = set()
        self._closed: dict[str, int] = {}
        self._messages: dict[str, int] = {}

    def _course_of(self, writers: Writers) -> LogCourse:
        self._watcher = watcher_of(self._options, self._names, log_format=self._reader.format or "")
        steps = (self._options.first_step, self._options.last_step)
        return LogCourse(self._watcher, self._store, writers, steps)

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
        self._course.finish()
        return [*changes, *self._changes()]

    def result(self) -> LogResult:
        """Return the result as it stands now."""
        reader = self._reader
        facts = LogFacts(
            path=self._path,
            format=reader.format or "unknown",
            rule=self._options.rule,
            warmup=self._options.settings().warmup,
            lines=reader.lines,
            loss_lines=reader.loss_lines,
            unreadable_lines=reader.unreadable_lines,
            merged_records=reader.copied + self._course.merged,
            replaced_records=self._course.replaced,
            ignored=reader.ignored,
            doubt=reader.doubt,
            source_names=reader.source_names,
            runs=self._course.spans(),
            numbering="line",
            notes=(*reader.notes, *self._course.notes()),
        )
        return report(self._watcher, facts)

    def _take(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if isinstance(entry, Restart):
                self._begin()
                continue
            if not self._begun:
                self._course, self._begun = self._course_of(self._reader.writers), True
            if isinstance(entry, Row):
                self._new.append(entry)
            else:
                self._message(entry)
        self._flush()

    def _message(self, event: ScalerEvent) -> None:
        self._flush()  # a message counts for the records before it, so that they must be judged first
        self._watcher.message(to_message(event))

    def _flush(self) -> None:
        rows, self._new = self._new, []
        if not rows:
            return
        self._store.add(rows)
        lossless = not self._reader.has_loss
        self._course.feed(
            Records(
                step=np.array([row.step for row in rows], dtype=np.float64),
                line=np.array([row.line for row in rows], dtype=np.int64),
                carries=np.array([lossless or LOSS in row.values for row in rows], dtype=np.bool_),
                rank=_ranks(rows),
                total=np.array([row.total_steps for row in rows], dtype=np.float64),
            )
        )

    def _changes(self) -> list[Change]:
        """Compare what is open and closed now with what was before."""
        changes: list[Change] = []
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
