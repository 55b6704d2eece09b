"""Values that are not finite: one event per unbroken stretch of records."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mhcdiag.detectors.interface import Floats
from mhcdiag.results.spikes import Event, Kind


@dataclass(kw_only=True, slots=True)
class _Stretch:
    """A stretch of NaN while it lasts."""

    line: int
    start: float
    end: float
    before: float
    points: int

    def event(self, *, back: float | None = None, note: str = "") -> Event:
        """Return the event as it stands."""
        recovered = False if note else None if back is None else True
        return Event(
            kind=Kind.NAN,
            run=0,
            line=self.line,
            start=self.start,
            peak=self.start,
            end=self.end,
            value=np.nan,
            baseline=self.before,
            z=np.nan,
            points=self.points,
            duration=(self.end if back is None else back) - self.start,
            area=np.nan,
            recovered=recovered,
            recovery_steps=None if back is None else back - self.start,
            note=note,
        )


class NonfiniteTracker:
    """Groups the values of one series of one run that are not finite."""

    def __init__(self) -> None:
        self._open: _Stretch | None = None
        self._last = np.nan

    def feed(self, *, step: Floats, line: NDArray[np.int64], value: Floats, bad: NDArray[np.bool_]) -> list[Event]:
        """Take the next records that carry the series and return the stretches that ended with them.

        Arguments: step, line, value: of each record; bad: where the value is not finite.
        """
        closed: list[Event] = []
        if not len(bad):
            return closed
        bounds = [0, *(np.flatnonzero(np.diff(bad)) + 1).tolist(), len(bad)]
        for first, after in pairwise(bounds):
            if bad[first]:
                self._extend(int(line[first]), float(step[first]), float(step[after - 1]), after - first)
                continue
            if self._open is not None:
                closed.append(self._open.event(back=float(step[first])))
                self._open = None
            self._last = float(value[after - 1])
        return closed

    def open_event(self) -> Event | None:
        """Return the stretch that is open now, as it would stand if the log ended here."""
        return None if self._open is None else self._open.event()

    def finish(self) -> list[Event]:
        """Return the stretch that is open at the end."""
        event, self._open = self.open_event(), None
        return [] if event is None else [event]

    def rewind(self) -> list[Event]:
        """End the stretch because the run went back to a checkpoint."""
        stretch, self._open = self._open, None
        return [] if stretch is None else [stretch.event(note="ended by a resume")]

    def _extend(self, line: int, start: float, end: float, points: int) -> None:
        if self._open is None:
            self._open = _Stretch(line=line, start=start, end=end, before=self._last, points=points)
        else:
            self._open.end = end
            self._open.points += points
