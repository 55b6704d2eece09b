"""Records to columns: numbers only, eight bytes each, whatever order the series come in."""

from __future__ import annotations  # arrays take a type in annotations from Python 3.12 on

import math
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mhcdiag.runlogs.interface import LogRecord
from mhcdiag.runlogs.log_table import ScalerEvent
from mhcdiag.runlogs.names import STEPS, canonical_rank, plain

MOST_SERIES = 1000
"""Series that are kept; a log of per-parameter statistics can hold far more than memory does."""


MOST_LABELS = 1000
"""Labels that are looked at: no list of results is longer."""


def _floats(values: array[float]) -> NDArray[np.float64]:
    return np.frombuffer(values, dtype=np.float64) if len(values) else np.empty(0)


class TableBuilder:
    """Takes records in the order of the log; `tables.finish_table` makes the table of them.

    Columns are arrays of eight-byte numbers that are padded when they are looked at: a series that comes once in a
    thousand records costs nothing in the other ones.

    Parameters
    ----------
    keep
        Says of a name whether its series is kept however many there are; besides, all that can be a loss, a gradient
        norm or the step are.
    """

    def __init__(self, keep: Callable[[str], bool] | None = None) -> None:
        self._keep = keep
        self._left_out: set[str] = set()
        self.labels: set[str] = set()
        """Texts that say what records are of, MOST_LABELS at most."""
        self.labelled = 0
        """Records with such a text."""
        self.line = array("q")
        """Line of each row."""
        self.step = array("d")
        """Step of each row, NaN where the parser does not know it."""
        self.total = array("d")
        """Planned number of steps of each row; shorter than `line` until padded."""
        self.rank = array("q")
        """Rank of each row's writer; shorter than `line` until padded."""
        self.series: dict[str, array[float]] = {}
        """Values by name in the log, NaN where absent; shorter than `line` until padded."""
        self.strange: dict[str, array[int]] = {}
        """Rows whose value stands in the log and is not finite."""
        self.counts: dict[str, int] = {}
        """Values per series."""
        self.garbled = 0
        """Lines with the key of the loss and no value."""
        self.lines = 0
        """Lines of the log."""
        self.dropped_series = 0
        """Values left out because there were too many series."""
        self.notes: list[str] = []
        """What the reader wants to tell."""
        self.events: list[ScalerEvent] = []
        """Messages found between the records."""
        self.event_rows: list[int] = []
        """For each message, how many rows stand before it."""
        self.copies = array("q")
        """For each line that repeats the one before it, the row of that one."""
        self.ignored: dict[str, int] = {}
        """Lines that carry a loss and make no row, by reason."""

    @property
    def rows(self) -> int:
        """Records so far."""
        return len(self.line)

    def add(self, record: LogRecord, *, rank: int | None = None) -> None:
        """Append one record.

        Parameters
        ----------
        record
            From a parser.
        rank
            Of the writer, where the line has a prefix that names it.
        """
        # A record without a single number (a line whose loss is damaged) is counted and makes no row.
        self.garbled += record.garbled
        if record.ignored:
            self.ignored[record.ignored] = self.ignored.get(record.ignored, 0) + 1
        if not record.values:
            return
        rank = rank if record.rank is None else record.rank
        if record.label and len(self.labels) < MOST_LABELS:
            self.labels.add(record.label)
            self.labelled += 1
        row = len(self.line)
        self.line.append(record.line)
        self.step.append(math.nan if record.step is None else record.step)
        if record.total_steps is not None:
            self._pad(self.total, row).append(record.total_steps)
        if rank is not None:
            self.rank.extend([-1] * (row - len(self.rank)))
            self.rank.append(rank)
        for name, value in record.values.items():
            column = self._column(name)
            if column is None:
                continue
            self._pad(column, row).append(value)
            self.counts[name] += 1
            if not math.isfinite(value):
                self.strange.setdefault(name, array("q")).append(row)

    def add_message(self, event: ScalerEvent) -> None:
        """Append a message that stands behind the records so far."""
        self.events.append(event)
        self.event_rows.append(self.rows)

    def add_copy(self) -> None:
        """Count a line that repeats the line of the last record."""
        if self.rows:
            self.copies.append(self.rows - 1)

    def add_block(self, lines: Sequence[int], columns: Mapping[str, array[float]]) -> None:
        """Append many records that carry the same series, all values finite (see `RecordTable`)."""
        row = len(self.line)
        self.line.extend(lines)
        self._pad(self.step, len(self.line))
        for name, values in columns.items():
            column = self._column(name)
            if column is not None:
                self._pad(column, row).extend(values)
                self.counts[name] += len(values)

    def fill(
        self,
        *,
        line: NDArray[np.int64],
        step: NDArray[np.float64],
        series: Iterable[tuple[str, NDArray[np.int64], NDArray[np.float64]]],
    ) -> None:
        """Fill an empty table at once (see `RecordTable`)."""
        assert not self.rows
        self.line = array("q", line.tobytes())
        self.step = array("d", step.tobytes())
        for name, rows, values in series:
            if len(self.series) >= MOST_SERIES and not self._stays(name):
                self.dropped_series += len(values)
                continue
            column = np.full(self.rows, np.nan)
            column[rows] = values
            self.series[name] = array("d", column.tobytes())
            self.counts[name] = len(values)
            strange = rows[~np.isfinite(values)]
            if len(strange):
                self.strange[name] = array("q", strange.astype(np.int64).tobytes())

    def column(self, name: str) -> NDArray[np.float64]:
        """Return a series by its name in the log, over all rows, NaN where absent."""
        return _floats(self._pad(self.series[name], self.rows))

    def steps(self) -> NDArray[np.float64]:
        """Return the step of each row as the parser gave it, NaN where it gave none."""
        return _floats(self._pad(self.step, self.rows))

    def totals(self) -> NDArray[np.float64] | None:
        """Return the planned number of steps of each row, None if no row has one."""
        return _floats(self._pad(self.total, self.rows)) if len(self.total) else None

    def ranks(self) -> NDArray[np.int64] | None:
        """Return the rank of each row's writer, None if no line names one."""
        if not len(self.rank):
            return None
        self.rank.extend([-1] * (self.rows - len(self.rank)))
        return np.frombuffer(self.rank, dtype=np.int64)

    def _column(self, name: str) -> array[float] | None:
        column = self.series.get(name)
        if column is None:
            if len(self.series) >= MOST_SERIES and not self._stays(name):
                self.dropped_series += 1
                return None
            column = self.series[name] = array("d")
            self.counts[name] = 0
        return column

    def _stays(self, name: str) -> bool:
        """Say whether a series is kept beyond MOST_SERIES: a thousand norms of layers may stand before the loss."""
        if name in self._left_out:
            return False
        stays = (
            canonical_rank(name) is not None or plain(name) in STEPS or (self._keep is not None and self._keep(name))
        )
        if not stays:
            self._left_out.add(name)
        return stays

    @staticmethod
    def _pad(column: array[float], rows: int) -> array[float]:
        missing = rows - len(column)
        if missing > 0:
            column.extend([math.nan] * missing)
        return column
