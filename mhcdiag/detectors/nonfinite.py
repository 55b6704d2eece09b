"""Values that are not finite, and the fp16 loss scaler, which is at its minimum when it can no longer keep them away.

NaN and infinities of a series make one event per unbroken stretch of records. Which values of a log are NaN of the run
and which the log only left out was decided before (`runlogs.nanrules`).

A scaler that halves has met an overflow; twenty of them open every fp16 run (DeepSpeed starts at 2^32), and a few later
are normal. It is at its minimum when the scale has come down to it from above: the constant 1.0 that bf16 runs print is
no scaler. In GLM-130B's chronicle the scale collapsed some thirty steps before the loss exploded.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mhcdiag.detectors.interface import Floats
from mhcdiag.results.spikes import Event, EventKind

MINIMUM = 1.0
"""Smallest scale of Megatron-LM and DeepSpeed (min_scale), where DeepSpeed raises (raise_error_at_min_scale)."""

FAIRSEQ_MINIMUM = 1e-4
"""Smallest scale of fairseq and metaseq ("Minimum loss scale reached (0.0001)"), where scales below 1 are part of the
search."""


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
            kind=EventKind.NAN,
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

        Parameters
        ----------
        step, line, value
            Of each record.
        bad
            Where the value is not finite.
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


class ScalerTracker:
    """Watches the loss scale of one run.

    Parameters
    ----------
    minimum
        The scale at which the scaler gives up.
    """

    def __init__(self, minimum: float = MINIMUM) -> None:
        self.halvings = 0
        """Times the scale went down."""
        self._minimum = minimum
        self._last = np.nan
        self._was_above = False
        self._open: Event | None = None

    def feed(self, *, step: Floats, line: NDArray[np.int64], scale: Floats) -> list[Event]:
        """Take the scales of the next records and return the events that closed with them."""
        closed: list[Event] = []
        # Scales are constant for thousands of records: only changes are looked at.
        changed = np.flatnonzero(np.diff(scale, prepend=self._last) != 0)
        for position in changed.tolist():
            value, before = float(scale[position]), float(scale[position - 1]) if position else self._last
            self.halvings += value < before
            if value > self._minimum:
                self._was_above = True
                if self._open is not None:
                    closed.append(_closed(self._open, float(step[position])))
                    self._open = None
            # Not below the minimum at the start: bf16 runs print a constant 1.0.
            elif self._was_above and self._open is None:
                self._open = scaler_event(
                    line=int(line[position]), step=float(step[position]), value=value, before=before
                )
        if len(scale):
            self._last = float(scale[-1])
        return closed

    def open_event(self) -> Event | None:
        """Return the event that is open now."""
        return self._open

    def finish(self) -> list[Event]:
        """Return the event that is still open, for good."""
        event, self._open = self._open, None
        return [] if event is None else [event]


def scaler_event(*, line: int, step: float, value: float, before: float = np.nan, note: str = "") -> Event:
    """Return an event of the scaler that is open.

    Parameters
    ----------
    line, step
        Where it was logged.
    value, before
        Loss scale then and before.
    note
        The message, where the code itself reports it.
    """
    return Event(
        kind=EventKind.LOSS_SCALE,
        run=0,
        line=line,
        start=step,
        peak=step,
        end=step,
        value=value,
        baseline=before,
        z=np.nan,
        points=1,
        duration=0.0,
        area=np.nan,
        recovered=None,
        recovery_steps=None,
        note=note,
    )


def _closed(event: Event, back: float) -> Event:
    return replace(event, duration=back - event.start, recovered=True, recovery_steps=back - event.start)
