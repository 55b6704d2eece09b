"""Values that are not finite, and the fp16 loss scaler, which is at its minimum when it can no longer keep them away.

NaN and infinities of a series make one event per unbroken stretch of records. Which values of a log are NaN of the run
and which the log only left out was decided before (`runlogs.nanrules`).

A scaler that halves has met an overflow; twenty of them open every fp16 run (DeepSpeed starts at 2^32), and a few later
are normal: a norm that is not finite is no event where the scaler answered it (`ScalerSearch`). It is at its minimum
when the scale has come down to it from above: the constant 1.0 that bf16 runs print is no scaler. In GLM-130B's
chronicle the scale collapsed some thirty steps before the loss exploded.
"""

from bisect import bisect_left, insort
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
        self.minimum = minimum
        """The scale at which the scaler gives up."""
        self.downs: list[float] = []
        """Steps at which the scale went down, since it was asked last."""
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
            if value < before:
                self.halvings += 1
                self.downs.append(float(step[position]))
            if value > self.minimum:
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


OVERFLOWS = 4
"""Consecutive values that are not finite and no longer look like the search of an fp16 scaler: single overflows are
normal, a row of them precedes a collapse."""

REACH = 2.0
"""Logging intervals around a norm that is not finite within which the scaler answers: the scale may be logged as it was
before the step, and Megatron's scaler waits for a second overflow (hysteresis)."""


class ScalerSearch:
    """When the fp16 loss scaler skipped a step: its scale went down, a counter rose, or a message says so.

    A scale that never moves is none: bf16 runs print 1.0, and a static scale cannot answer.
    """

    def __init__(self) -> None:
        self._answers: list[list[float]] = [[]]
        self._skipped = np.nan

    @property
    def searches(self) -> bool:
        """Whether the scaler of the run that is read now has ever answered."""
        return bool(self._answers[-1])

    def answered_in(self, run: int) -> bool:
        """Say whether it has answered in a run."""
        return bool(self._answers[run])

    def new_run(self) -> None:
        """Begin another run."""
        self._answers.append([])
        self._skipped = np.nan

    def answer(self, step: float) -> None:
        """Take an answer; NaN: before the first record."""
        insort(self._answers[-1], 0.0 if np.isnan(step) else step)

    def counter(self, step: Floats, skipped: Floats, scale: Floats | None) -> None:
        """Take a counter of skipped steps: of the interval (Megatron-LM) or of the run (DeepSpeed).

        Parameters
        ----------
        step, skipped
            Of each record, NaN where it is not logged.
        scale
            The loss scale, where there is one: a step that is skipped at a scale of 1 was skipped for another reason.
        """
        known = np.flatnonzero(np.isfinite(skipped))
        if not len(known):
            return
        values = skipped[known]
        rises = np.diff(values, prepend=0.0 if np.isnan(self._skipped) else self._skipped) > 0
        self._skipped = float(values[-1])
        for row in known[rises].tolist():
            if scale is None or not scale[row] <= MINIMUM:
                self.answer(float(step[row]))

    def excuses(self, event: Event, *, interval: float) -> bool:
        """Say whether a stretch of norms is a step that the scaler skipped.

        Parameters
        ----------
        event
            The stretch.
        interval
            Steps between two records.
        """
        if event.kind not in (EventKind.NAN, EventKind.ISOLATED_NAN) or event.points >= OVERFLOWS:
            return False
        reach = REACH * max(interval, event.duration / max(event.points, 1), 1.0)
        answers = self._answers[event.run]
        first = bisect_left(answers, event.start - reach)
        return first < len(answers) and answers[first] <= event.end + reach


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
