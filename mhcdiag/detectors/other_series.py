"""NaN in the losses and norms of a log beside the main ones, and in tables that write NaN for "not recorded".

A critic, a validation loss or the norm of one layer may die while the main loss goes on. Not every NaN is one: writers
of tables fill the rows between two evaluations with NaN. A series that is NaN in more than half of its rows before its
last finite value does so; it has died once no finite value has come for three of its own intervals.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mhcdiag.detectors.interface import Floats
from mhcdiag.detectors.nonfinite import NonfiniteTracker
from mhcdiag.results.spikes import Event, EventKind

BLANK_SHARE = 0.5
"""Share of NaN among the rows before the last finite value from which NaN means "not recorded"."""

OVERDUE = 3.0
"""Intervals between its finite values after which a series that is mostly blank has died."""

IN_A_ROW = 3
"""NaN in a row that fail an auxiliary series: one may come from a batch without any token or box to average over."""


@dataclass(kw_only=True, slots=True)
class Recording:
    """How often a series is recorded, counted in the rows that carry it."""

    rows: int = 0
    """Rows so far, finite or not."""
    finite: int = 0
    """Finite ones."""
    first: int = -1
    """The first finite row; -1 before there is one."""
    last: int = -1
    """The last one."""

    def feed(self, bad: NDArray[np.bool_]) -> None:
        """Take the next rows: where the value is not finite."""
        good = np.flatnonzero(~bad)
        if len(good):
            self.first = self.first if self.finite else self.rows + int(good[0])
            self.last = self.rows + int(good[-1])
            self.finite += len(good)
        self.rows += len(bad)

    @property
    def blank(self) -> bool:
        """Whether NaN means "not recorded" here."""
        return self.last >= 0 and self.last + 1 - self.finite > BLANK_SHARE * (self.last + 1)

    @property
    def overdue(self) -> bool:
        """Whether no finite value has come for three of its own intervals."""
        interval = (self.last - self.first) / (self.finite - 1) if self.finite > 1 else self.last + 1.0
        return self.rows - 1 - self.last > OVERDUE * interval


class OtherSeries:
    """Watches one loss or norm beside the main ones for NaN, run by run.

    Parameters
    ----------
    evaluation
        Whether it is an evaluation's: one that never was finite has not been made yet.
    run
        Index of the run in which it comes for the first time.
    """

    def __init__(self, *, evaluation: bool, run: int = 0) -> None:
        self.points = 0
        """Finite values and NaN."""
        self._evaluation = evaluation
        self._run = run
        self._over: list[Event] = []
        self._ended = False
        self._begin()

    def _begin(self) -> None:
        self.recording = Recording()
        """Of the run that is read now."""
        self._stretches: list[Event] = []
        self._tracker = NonfiniteTracker()

    def feed(self, *, step: Floats, line: NDArray[np.int64], value: Floats, bad: NDArray[np.bool_]) -> None:
        """Take the next records that carry the series; `bad`: where the value is not finite."""
        self.points += len(step)
        self.recording.feed(bad)
        self._stretches += self._tracker.feed(step=step, line=line, value=value, bad=bad)

    def rewind(self) -> None:
        """Go back to a checkpoint."""
        self._stretches += self._tracker.rewind()

    def new_run(self) -> None:
        """Begin another run."""
        self._over += self._events(ended=True)
        self._run += 1
        self._begin()

    def finish(self) -> None:
        """End the log: what is open stays open."""
        self._ended = True

    def events(self) -> list[Event]:
        """Return all events as they stand now."""
        return [*self._over, *self._events(ended=self._ended)]

    def unrecorded(self) -> bool:
        """Say whether the series never was finite and is taken as an evaluation that was not made."""
        return self._evaluation and self.recording.rows > 0 and not self.recording.finite

    def _events(self, *, ended: bool) -> list[Event]:
        return [replace(event, run=self._run) for event in self._judged(ended=ended)]

    def _judged(self, *, ended: bool) -> Iterator[Event]:
        pending = self._tracker.open_event()
        if self.unrecorded():
            return
        if self.recording.blank:
            if pending is not None and self.recording.overdue:
                yield pending
            return
        for event in self._stretches:
            yield event if event.points >= IN_A_ROW else replace(event, kind=EventKind.ISOLATED_NAN)
        # At the end of a log one NaN is a NaN to the end; while it grows, the next value may be finite.
        if pending is not None:
            lasts = ended or pending.points >= IN_A_ROW
            yield pending if lasts else replace(pending, kind=EventKind.ISOLATED_NAN)
