"""Everything that is watched in one series: excursions, divergence, values that are not finite, scores."""

from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mhcdiag.detectors.excursions import ExcursionTracker
from mhcdiag.detectors.flagged import FlagTracker
from mhcdiag.detectors.interface import GRADIENT_NORM, DetectionSettings, Floats, Points, PublishedRule
from mhcdiag.detectors.nonfinite import NonfiniteTracker
from mhcdiag.detectors.published import SpikeScores
from mhcdiag.detectors.running_minimum import SMOOTHED, DivergenceTracker
from mhcdiag.results.spikes import BinnedCurve, Event, EventKind

MOST = 4096
"""Bins of a curve; twice the pixels of a figure."""


class CurveBuilder:
    """Bins the points of one series while it is read; bins double when there are too many.

    Lowest and highest value of each bin are kept, not a mean: a blip of one step in a million must stay on the figure.
    """

    def __init__(self) -> None:
        self._width = 1
        self._run = 0
        self._bins = np.empty((0, 4))
        self._rest = np.empty((0, 4))

    def new_run(self, run: int) -> None:
        """Begin another run: no bin holds points of two."""
        # A bin that is not full yet is closed: the level of the next run would stretch it.
        self._bins, self._rest = self._all(), np.empty((0, 4))
        self._run = run

    def feed(self, step: Floats, value: Floats) -> None:
        """Take the next finite points of the series."""
        points = np.concatenate(
            [
                self._rest,
                np.column_stack([np.full(len(step), self._run, dtype=np.float64), step, value, value]),
            ]
        )
        whole = len(points) // self._width * self._width
        self._bins = np.concatenate([self._bins, _binned(points[:whole], self._width)])
        self._rest = points[whole:]
        while len(self._bins) > MOST:
            even = len(self._bins) // 2 * 2
            self._bins = np.concatenate([_binned(self._bins[:even], 2), self._bins[even:]])
            self._width *= 2

    def curve(self) -> BinnedCurve:
        """Return the curve so far."""
        bins = self._all()
        return BinnedCurve(
            run=tuple(int(run) for run in bins[:, 0]),
            step=tuple(bins[:, 1].tolist()),
            low=tuple(bins[:, 2].tolist()),
            high=tuple(bins[:, 3].tolist()),
        )

    def _all(self) -> Floats:
        return np.concatenate([self._bins, _binned(self._rest, len(self._rest))])


def _binned(points: Floats, width: int) -> Floats:
    """Join each `width` rows of run, step, low and high."""
    if not len(points):
        return np.empty((0, 4))
    groups = points.reshape(-1, width, 4)
    return np.column_stack([groups[:, 0, 0], groups[:, 0, 1], groups[:, :, 2].min(axis=1), groups[:, :, 3].max(axis=1)])


class Tracker(Protocol):
    """Finds the events of one series of one run while it reads, in constant memory."""

    def feed(self, points: Points) -> list[Event]:
        """Take the next points and return the events that closed with them."""
        ...

    def open_event(self) -> Event | None:
        """Return the event that is open now, as it would stand if the log ended here."""
        ...

    def finish(self) -> list[Event]:
        """Return the event that is still open, for good."""
        ...

    def rewind(self, step: float) -> list[Event]:
        """Go back to a checkpoint and return the event that ends with it.

        Parameters
        ----------
        step
            The first step that is written again.
        """
        ...


class SeriesWatcher:
    """Reads one series run by run, in constant memory but for the events it finds.

    Parameters
    ----------
    name
        Of the series.
    settings
        Of our rule.
    rule
        A published rule in place of ours, for blips and spikes; divergence and NaN are found all the same.
    """

    def __init__(self, name: str, settings: DetectionSettings, rule: PublishedRule | None = None) -> None:
        self.points = 0
        """Finite values and NaN."""
        self.finite = 0
        """Finite values."""
        self.judged = False
        """Whether any run was longer than the warm-up."""
        self.ratio_applies = True
        """False once a run has reached zero or less, where the running minimum says nothing."""
        self.closed: list[Event] = []
        """Events that are over, as they were found."""
        self.scores = SpikeScores()
        """Published scores."""
        self.curve = CurveBuilder()
        """The series for drawing."""
        self._name = name
        self._settings = settings
        self._rule = rule
        self._run = -1
        self.new_run()

    def new_run(self) -> None:
        """Begin a run: nothing is known about its course."""
        if self._run >= 0:
            self._end_trackers()
        self._run += 1
        self._last_step = np.nan
        self._last_bad = False
        self.interval = 1.0
        """Steps between the last two points of the run."""
        self._in_run = 0
        self._excursions: Tracker = (
            FlagTracker(self._rule)
            if self._rule is not None
            else ExcursionTracker(self._settings, self._settings.thresholds(self._name))
        )
        self._divergence = DivergenceTracker()
        self._nonfinite = NonfiniteTracker()
        self.scores.new_run()
        self.curve.new_run(self._run)

    def feed(self, *, step: Floats, line: NDArray[np.int64], value: Floats, bad: NDArray[np.bool_]) -> None:
        """Take the next records that carry the series.

        Parameters
        ----------
        step, line, value
            Of each record.
        bad
            Where the value is not finite because the run made it so.
        """
        if not len(step):
            return
        # A step that is printed twice in a row is one point (two loggers on one console: bigscience), but it is not
        # finite if any of its records is not.
        fresh = np.diff(step, prepend=self._last_step) != 0
        if not fresh.all():
            counts = fresh | self._first_of_their_step(fresh, bad)
            step, line, value, bad = step[counts], line[counts], value[counts], bad[counts]
            if not len(step):
                return
        if step[-1] > self._last_step:
            self.interval = float(step[-1] - (step[-2] if len(step) > 1 and step[-2] < step[-1] else self._last_step))
        self._last_step = float(step[-1])
        self._last_bad = bool(bad[-1])
        self.points += len(step)
        self._keep(self._nonfinite.feed(step=step, line=line, value=value, bad=bad))
        good = ~bad
        points = Points(step=step[good], line=line[good], value=value[good])
        self.finite += len(points)
        self._in_run += len(points)
        self.judged |= self._in_run > self._settings.warmup
        self.scores.feed(points.value)
        self.curve.feed(points.step, points.value)
        self._keep(self._excursions.feed(points))
        # A norm that rises for good is no divergence: it often grows while the loss falls.
        if self._name != GRADIENT_NORM:
            self._keep(self._divergence.feed(points))
            self.ratio_applies &= self._divergence.applies

    def _first_of_their_step(self, fresh: NDArray[np.bool_], bad: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which values are the first of their step that are not finite."""
        group = np.cumsum(fresh)
        rows = np.flatnonzero(bad)
        first: NDArray[np.bool_] = np.zeros(len(bad), dtype=np.bool_)
        first[rows[np.unique(group[rows], return_index=True)[1]]] = True
        first &= ~((group == 0) & self._last_bad)
        return first

    def rewind(self, step: float) -> None:
        """Go back to a checkpoint, to the first step that is written again."""
        self._keep(self._nonfinite.rewind() + self._excursions.rewind(step) + self._divergence.rewind())
        self._last_step = np.nan  # the step that is written again may be the last one there was

    def finish(self) -> None:
        """End the log: what is open stays open."""
        self._end_trackers()

    def open_events(self) -> list[Event]:
        """Return what is open now."""
        trackers = (self._nonfinite, self._excursions, self._divergence)
        return [self._named(event) for tracker in trackers if (event := tracker.open_event()) is not None]

    def events(self) -> tuple[Event, ...]:
        """Return all events, each stretch of the series once, in the order of the log."""
        return settled([*self.closed, *self.open_events()])

    def _end_trackers(self) -> None:
        self._keep(self._nonfinite.finish() + self._excursions.finish() + self._divergence.finish())

    def _keep(self, events: list[Event]) -> None:
        self.closed.extend(self._named(event) for event in events)

    def _named(self, event: Event) -> Event:
        # The norm's excursions explain those of the loss and fail no gate: blip or spike is one thing there.
        kind = event.kind
        if self._name == GRADIENT_NORM and kind is not EventKind.NAN:
            kind = EventKind.GRADSPIKE
        return replace(event, run=self._run, kind=kind)


def settled(events: list[Event]) -> tuple[Event, ...]:
    """Return the events of one series in order, with a stretch that two rules found only once.

    A divergence that is open takes in the shifts and the open spike it consists of. A long rise that came
    back is left out where blips, spikes or shifts of the same stretch describe it in more detail.
    """
    diverged = [event for event in events if event.kind is EventKind.DIVERGENCE and event.recovered is None]
    smoothed = [event for event in events if event.note.startswith(SMOOTHED)]
    sharp = [event for event in events if not event.note.startswith(SMOOTHED) and event.kind is not EventKind.NAN]
    kept: list[Event] = []
    for event in events:
        if event.kind is EventKind.NAN or event in diverged:
            kept.append(event)
        elif event in smoothed:
            if not any(_overlap(event, other) for other in sharp):
                kept.append(event)
        elif not any(_part_of(event, divergence) for divergence in diverged):
            kept.append(event)
    return tuple(sorted(kept, key=lambda event: (event.run, event.start, event.line)))


def _overlap(first: Event, second: Event) -> bool:
    return first.run == second.run and first.start <= second.end and second.start <= first.end


def _part_of(event: Event, divergence: Event) -> bool:
    # What came back before the end is an event of its own, even while the series drifts up.
    whole = event.kind is EventKind.SHIFT or event.recovered is None
    return whole and event.run == divergence.run and event.end >= divergence.start
