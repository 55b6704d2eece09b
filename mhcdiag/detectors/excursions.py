"""Our rule for blips, spikes and shifts.

A point opens an event when it lies z robust deviations above the level *and* a given share above it:
significance, for a series with small noise has many small ripples, and size, for a series of a million
points has many honest deviations. Both are measured from the points before it only (see `baseline`,
`tails`). Falling never counts: improvement, the end of a schedule and epoch boundaries step down (a translator
fine-tuned from Mistral-7B goes 0.41, 0.32, 0.18, 0.12 from epoch to epoch; two-sided rules fire three times).

An event of fewer than four neighbouring points must also stand out of the tails that this series shows,
by what its peak adds to the points beside it (see `tails`); four are no accident of the noise.

One point is a blip and no spike, however high, and fails no gate by default: nearly all of them are batches, not
instability. modded-nanogpt's losses jump by more than one nat at step 946 or 947 in 73 of 78 independent runs, and
the next step is back on course.

While an event is open, level and scale stay frozen, so that a spike cannot hide its own tail or the next
one, as it does where flagged points enter the window (OLMo-core). Three consecutive points below half of both
thresholds close it: half, so that noise does not cut one event into many; three, so that one lucky point does not end
it. If the series is still up after a whole window, and its newest quarter agrees with the quarter before, the level has
shifted: the event closes, and the baseline starts from the new level.
"""

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from mhcdiag.detectors.baseline import sliding_baselines
from mhcdiag.detectors.course import Course, Limits
from mhcdiag.detectors.interface import DetectionSettings, Points, Thresholds
from mhcdiag.detectors.tails import TailThreshold
from mhcdiag.results.spikes import Event, EventKind

CALM = 3
"""Consecutive points on course that close an event."""

NEIGHBOURS = 4
"""Points in a row that stand out and are no accident of the noise, even where it carries over from step to
step."""

STABLE = 3.0
"""Deviations by which two quarters of a stable level may differ."""


@dataclass(kw_only=True, slots=True)
class _Excursion:
    """An event while it is open; plain numbers, one point at a time."""

    limits: Limits  # frozen when it opened
    calm_below: float
    tail: TailThreshold
    lasting: int  # points after which a rise is no accident, whatever its heights
    line: int
    start: float
    newest: deque[tuple[float, float]]
    last: float
    before: float = 0.0
    alone: float = -np.inf  # the most that any point added to its two neighbours
    peak: float = 0.0
    value: float = -np.inf
    end: float = 0.0
    points: int = 0
    seen: int = 0
    neighbours: int = 0
    longest: int = 0
    area: float = 0.0
    calm: list[tuple[float, float]] = field(default_factory=list)

    def take(self, step: float, value: float) -> None:
        """Add a point, on course or not."""
        self.seen += 1
        self.newest.append((step, value))
        excess = self.limits.excess(value)
        self.alone = max(self.alone, self._alone(after=excess))
        self.before, self.last = self.last, excess
        if value < self.calm_below:
            self.calm.append((step, value))
            self.neighbours = 0
            return
        # Calm points between two high ones belong to the event.
        self.calm.clear()
        self.points += 1
        self.neighbours += 1
        self.longest = max(self.longest, self.neighbours)
        self.area += value - self.limits.level
        self.end = step
        if value > self.value:
            self.value, self.peak = value, step

    # What opened an event is reported only once it is confirmed: a point that is no more than the tail of the noise is
    # forgotten, and its height remembered as noise (`Course.note_noise`).
    @property
    def confirmed(self) -> bool:
        """Whether this is more than the tail of the noise, as far as the points with two neighbours say."""
        return self.alone >= self.tail.height or self.longest >= NEIGHBOURS or self.seen >= self.lasting

    @property
    def confirmed_at_end(self) -> bool:
        """The same when no point will follow: the last one has no echo then."""
        return self.confirmed or self._alone(after=0.0) >= self.tail.height

    def _alone(self, *, after: float) -> float:
        """Return what the last point adds to its neighbours, in the unit of the level."""
        return self.last - self.tail.echo * (self.before + after)

    def event(self, *, kind: EventKind | None = None, recovered: bool | None = None, note: str = "") -> Event:
        """Return the event as it stands."""
        back = self.calm[0][0] if recovered else self.newest[-1][0]
        # The class follows from neighbouring points, not from duration: a record may stand for many steps.
        return Event(
            kind=kind or (EventKind.BLIP if self.longest < 2 else EventKind.SPIKE),
            run=0,
            line=self.line,
            start=self.start,
            peak=self.peak,
            end=self.end,
            value=self.value,
            baseline=self.limits.level,
            z=self.limits.z(self.value),
            points=self.points,
            duration=back - self.start,
            area=self.area,
            recovered=recovered,
            recovery_steps=back - self.peak if recovered else None,
            note=note,
        )


class ExcursionTracker:
    """Finds the blips, spikes and shifts of one series of one run.

    Parameters
    ----------
    settings
        Window and warm-up.
    thresholds
        Of this series.
    """

    def __init__(self, settings: DetectionSettings, thresholds: Thresholds) -> None:
        self._settings = settings
        self._thresholds = thresholds
        self._course = Course(settings, thresholds)
        self._open: _Excursion | None = None

    def feed(self, points: Points) -> list[Event]:
        """Take the next points and return the events that closed with them."""
        closed: list[Event] = []
        position = 0
        while position < len(points):
            if self._open is None:
                position += self._course.scan(points.value[position:], points.step[position:])
                if position == len(points):
                    break
                self._begin(points, position)
            assert self._open is not None
            self._open.take(float(points.step[position]), float(points.value[position]))
            position += 1
            event = self._close()
            if event is not None:
                closed.append(event)
        return closed

    def open_event(self) -> Event | None:
        """Return the event that is open now, as it would stand if the log ended here."""
        return self._open.event() if self._open is not None and self._open.confirmed else None

    def finish(self) -> list[Event]:
        """Return the event that is still open, for good."""
        open_event, self._open = self._open, None
        return [open_event.event()] if open_event is not None and open_event.confirmed_at_end else []

    def rewind(self, step: float) -> list[Event]:
        """Go back to a checkpoint: forget what is written again, and close an open event unrecovered."""
        open_event, self._open = self._open, None
        ended = open_event is not None and open_event.confirmed_at_end
        closed = [open_event.event(recovered=False, note="ended by a resume")] if open_event and ended else []
        self._course.rewind(step)
        return closed

    def _begin(self, points: Points, position: int) -> None:
        limits = self._course.limits
        assert limits is not None
        self._open = _Excursion(
            limits=limits,
            calm_below=float(limits.baseline.reach(self._thresholds.z / 2, self._thresholds.min_rise / 2)[0]),
            tail=self._course.tail_threshold(),
            lasting=self._settings.window // 2,
            line=int(points.line[position]),
            start=float(points.step[position]),
            # Two quarters of a window, which `_stable` compares.
            newest=deque(maxlen=max(self._settings.window // 2, 2)),
            last=limits.excess(self._course.newest()),
        )

    def _close(self) -> Event | None:
        """Close the open event if it has come back or has become the level."""
        excursion = self._open
        assert excursion is not None
        if len(excursion.calm) >= CALM:
            self._open = None
            # The calm points are course again, and the baseline goes on as if the event had not been.
            event = excursion.event(recovered=True) if excursion.confirmed else None
            if event is None:
                self._course.note_noise(excursion.value)
            self._course.accept(*_columns(excursion.calm))
            return event
        window = self._settings.window
        # A new level is asked for after a whole window, and then every quarter of one: each question costs a sort.
        if excursion.seen < window or (excursion.seen - window) % max(window // 4, 1) or not _stable(excursion):
            return None
        self._open = None
        # The old level says nothing about what follows. Half a window of the new one is known.
        self._course.restart(*_columns(excursion.newest))
        return excursion.event(kind=EventKind.SHIFT, recovered=False)


def _columns(pairs: deque[tuple[float, float]] | list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    table = np.array(pairs)
    return table[:, 1].copy(), table[:, 0].copy()


def _stable(excursion: _Excursion) -> bool:
    """Say whether the newest quarter of a window lies where the quarter before lay."""
    values, _ = _columns(excursion.newest)
    quarter = len(values) // 2
    known = sliding_baselines(values, window=len(values))
    scaled = np.log(values) if known.logarithmic[0] else values
    moved = np.median(scaled[quarter:]) - np.median(scaled[:quarter])
    return bool(abs(moved) <= STABLE * known.scale[0])
