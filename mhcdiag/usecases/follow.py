"""A log that still grows: bytes in, opened and closed events out, in constant memory but for the events."""

import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mhcdiag.detectors import LogWatcher, RecordBlock
from mhcdiag.errors import LogError
from mhcdiag.results.spikes import Event, LogResult, RunSpan
from mhcdiag.runlogs import Entry, LineReader, Row
from mhcdiag.runlogs.runs import goes_back_to_start
from mhcdiag.usecases.spikes import GRADIENT_NORM, LOSS, LOSS_SCALE, LogFacts, LogOptions, report, to_message


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

    Arguments: path: for the report; options: how to read and judge it. Raises: SettingError, LogError for a
    format that cannot be followed.
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
        self._rows: list[Row] = []
        self._run = _Run()
        self._spans: list[RunSpan] = []
        self._notes: list[str] = []
        self._open: set[tuple[str, int, float]] = set()
        self._closed: dict[str, int] = {}
        self._messages: dict[str, int] = {}
        self._rank: int | None = None

    def feed(self, data: bytes) -> list[Change]:
        """Take the next bytes and return the events that opened or closed with them.

        Arguments: data: any number of bytes, cut anywhere.
        """
        self._take(self._reader.feed(data))
        return self._changes()

    def close(self) -> list[Change]:
        """End the log and return the last changes. Raises: LogError when nothing could be read."""
        self._take(self._reader.close())
        changes = self._changes()
        if self._watcher is not None:
            self._watcher.finish()
        return changes

    def result(self) -> LogResult:
        """Return the report as it stands now."""
        watcher = self._watcher or self._options.watcher(self._names, "")
        facts = LogFacts(
            path=self._path,
            format=self._reader.format or "unknown",
            rule=self._options.rule,
            warmup=self._options.settings.warmup,
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
            self._watcher = self._options.watcher(self._names, self._reader.format or "")
        for entry in entries:
            assert self._watcher is not None
            if not isinstance(entry, Row):
                self._flush()
                self._watcher.message(to_message(entry))
                continue
            if self._foreign(entry):
                continue
            if LOSS in entry.values or LOSS in entry.nan:
                self._follow_steps(entry)
            if self._options.first_step <= entry.step <= self._options.last_step:
                self._rows.append(entry)
        self._flush()

    def _foreign(self, row: Row) -> bool:
        """Say whether the row comes from a rank that does not count: the lowest one does."""
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
        names = [*self._names, LOSS_SCALE]
        self._watcher.feed(
            RecordBlock(
                step=np.array([row.step for row in rows], dtype=np.float64),
                line=np.array([row.line for row in rows], dtype=np.int64),
                columns={name: np.array([row.values.get(name, np.nan) for row in rows]) for name in names},
                bad={name: np.array([name in row.nan for row in rows]) for name in names},
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
                if key not in self._open:
                    changes.append(Change(series=name, event=event, opened=True))
                self._open.discard(key)
                changes.append(Change(series=name, event=event, opened=False))
            for event in watcher.open_events():
                key = (name, event.run, event.start)
                if key not in self._open:
                    self._open.add(key)
                    changes.append(Change(series=name, event=event, opened=True))
        changes += self._told(LOSS_SCALE, self._watcher.scaler_events())
        changes += self._told(LOSS, self._watcher.nan_messages())
        return changes

    def _told(self, name: str, events: Sequence[Event]) -> list[Change]:
        """Return the events that messages and the scaler opened since the last time."""
        before = self._messages.get(name, 0)
        self._messages[name] = len(events)
        return [Change(series=name, event=event, opened=True) for event in events[before:]]


BLOCK = 1 << 18
POLL = 0.2
"""Seconds between two looks at a file that stands still."""


def tail(
    path: str,
    *,
    idle_timeout: float | None = None,
    stopped: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[bytes]:
    """Yield the bytes of a file as they are written, `b""` while there are none. Raises: LogError.

    A file that is not there yet is waited for. One that shrinks or is replaced is read from its start; a
    line that was half written is ended before, so that no line is made of two.

    Arguments: path: the file, `-` for standard input; idle_timeout: seconds without new bytes after which
    to end, None: never; stopped: asked between two blocks whether to end; clock, sleep: of the machine.
    """
    source = _Source(path)
    last = clock()
    try:
        while not stopped():
            block = source.read()
            if block is None:
                return
            if block:
                last = clock()
            elif idle_timeout is not None and clock() - last >= idle_timeout:
                return
            yield block
            if not block:
                sleep(min(POLL, idle_timeout or POLL))
    finally:
        source.close()


class _Source:
    """The file under its name, reopened when another one stands there."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: BinaryIO | None = sys.stdin.buffer if path == "-" else None

    def read(self) -> bytes | None:
        """Return the next bytes; empty when there are none yet, None when there will be no more."""
        try:
            return self._read()
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise LogError(self._path, found=reason, expected="a file that can be read while it grows") from error

    def _read(self) -> bytes | None:
        if self._path == "-":
            assert self._file is not None
            return os.read(self._file.fileno(), BLOCK) or None
        if self._file is None and not self._open():
            return b""
        assert self._file is not None
        block = self._file.read(BLOCK)
        if block or not self._replaced():
            return block
        self.close()
        return b"\n"

    def close(self) -> None:
        """Close the file, but not standard input."""
        if self._file is not None and self._path != "-":
            self._file.close()
            self._file = None

    def _open(self) -> bool:
        try:
            self._file = Path(self._path).open("rb")  # noqa: SIM115 - closed by close()
        except FileNotFoundError:
            return False
        return True

    def _replaced(self) -> bool:
        assert self._file is not None
        try:
            now = os.stat(self._path)
        except FileNotFoundError:
            return False  # moved away: the next one will come under the same name
        mine = os.fstat(self._file.fileno())
        other = (now.st_dev, now.st_ino) != (mine.st_dev, mine.st_ino)
        return other or now.st_size < self._file.tell()
