"""The course of a series: which points were normal, and from which value on the next one is not."""

import math
from dataclasses import dataclass

import numpy as np

from mhcdiag.detectors.baseline import Baselines, sliding_baselines
from mhcdiag.detectors.interface import DetectionSettings, Floats, Thresholds
from mhcdiag.detectors.tails import WINDOWS, Tail, TailThreshold

PARTS = 8
"""The baseline follows every eighth of a window: the median of its newest quarter does not move faster."""

AHEAD = 32
"""Windows that are looked ahead after an event, twice as many each time: fewer cost more in calls than they
spare in windows that turn out not to count."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What the next points are held against."""

    opens: float
    """Smallest value that opens an event."""
    baseline: Baselines
    """The one window behind it."""

    def z(self, value: float) -> float:
        """Return how many deviations a value lies above the level."""
        return self.excess(value) / float(self.baseline.scale[0])

    def excess(self, value: float) -> float:
        """Return how far a value lies above the level, in the unit of the level."""
        # Plain numbers: an open event asks this for every point.
        level = float(self.baseline.level[0])
        if not self.baseline.logarithmic[0]:
            return value - level
        return (math.log(value) if value > 0 else -math.inf) - level

    @property
    def level(self) -> float:
        """The level in the unit of the series."""
        return float(self.baseline.values()[0])


class Course:
    """The last accepted points of a series and the limits that follow from them.

    Points of an event never enter: the baseline is frozen while an event is open. Whatever the number of
    points per call, the same series gives the same limits: windows end at multiples of the stride, counted in accepted
    points.

    Parameters
    ----------
    settings
        Window and warm-up.
    thresholds
        Of this series.
    """

    def __init__(self, settings: DetectionSettings, thresholds: Thresholds) -> None:
        self.limits: Limits | None = None
        """None while too few points are known."""
        self._settings = settings
        self._thresholds = thresholds
        self._stride = max(settings.window // PARTS, 1)
        self._values: Floats = np.empty(0)
        self._steps: Floats = np.empty(0)
        self._accepted = 0
        self._tail = Tail()
        self._lookahead = AHEAD

    def scan(self, values: Floats, steps: Floats) -> int:
        """Accept the next points of the series up to the first that opens an event, and return their number."""
        position = 0
        while position < len(values):
            rest = slice(position, None)
            # Full windows are judged many at a time, as one array of windows: a call per point costs more than its
            # median.
            grown = len(self._values) == self._settings.window
            scan = self._scan_many if grown else self._scan_few
            accepted, found = scan(values[rest], steps[rest])
            position += accepted
            if found:
                self._lookahead = AHEAD
                break
        return position

    def accept(self, values: Floats, steps: Floats) -> None:
        """Take points on course that were judged elsewhere: the calm ones that closed an event."""
        self._append(values, steps)
        self._refresh()
        self._turn_block(len(values))

    def restart(self, values: Floats, steps: Floats) -> None:
        """Forget the old level and go on from these points, which have a new one."""
        self._values, self._steps = np.empty(0), np.empty(0)
        self.accept(values, steps)  # the tail is kept: heights are in deviations, whatever the level

    def rewind(self, step: float) -> None:
        """Forget what a resume from this step replaced; the checkpoint knows nothing of it either."""
        kept = self._steps < step
        self._values, self._steps = self._values[kept], self._steps[kept]
        self._refresh()  # with too few points left, the warm-up begins again

    def tail_threshold(self) -> TailThreshold:
        """Return how high a lone point must be to be more than the tail of the noise."""
        assert self.limits is not None
        return self._tail.threshold(self.limits.baseline, self._thresholds.z)

    def newest(self) -> float:
        """Return the last point on course."""
        return float(self._values[-1])

    def note_noise(self, value: float) -> None:
        """Remember the height of what turned out to be the tail of the noise."""
        assert self.limits is not None
        self._tail.note(self.limits.excess(value))

    def _scan_few(self, values: Floats, steps: Floats) -> tuple[int, bool]:
        """Go on to the next point at which the baseline follows."""
        count = min(self._stride - self._accepted % self._stride, len(values))
        found = False
        # Without limits (the warm-up) every point is accepted, the steep start of training among them.
        if self.limits is not None:
            above = values[:count] >= self.limits.opens
            found = bool(above.any())
            count = int(above.argmax()) if found else count
            if count:
                self._tail.note(self.limits.excess(float(values[:count].max())))
        self._append(values[:count], steps[:count])
        if count and self._accepted % self._stride == 0:
            self._refresh()
        self._turn_block(count)
        return count, found

    def _scan_many(self, values: Floats, steps: Floats) -> tuple[int, bool]:
        """Judge many points as if all were accepted; what follows the first that is not does not count."""
        window, stride = self._settings.window, self._stride
        head = stride - self._accepted % stride
        if len(values) <= head or self.limits is None:
            return self._scan_few(values, steps)
        # Never over the end of a block of the tail: what closes there holds for the points that follow.
        block = WINDOWS * window
        count = min(len(values), block - self._accepted % block, head + stride * self._lookahead)
        self._lookahead *= 2
        values, steps = values[:count], steps[:count]
        known = np.concatenate([self._values, values])
        ahead = sliding_baselines(known[head:], window=window, stride=stride)
        # The head is judged by the limits of now, what follows window i by window i.
        by_window = self._opens(ahead)
        opens = np.repeat(np.concatenate([[self.limits.opens], by_window]), stride)[stride - head :]
        above = values >= opens[:count]
        found = bool(above.any())
        if found:
            count = int(above.argmax())
        reached = (count - head) // stride
        self._note(values[:count], head, ahead.take(slice(0, reached + 1)))
        self._append(values[:count], steps[:count])
        if reached >= 0:
            self.limits = Limits(opens=float(by_window[reached]), baseline=ahead.take(slice(reached, reached + 1)))
        self._turn_block(count)
        return count, found

    def _note(self, accepted: Floats, head: int, ahead: Baselines) -> None:
        """Remember the largest of these points; within the reach of one window that is the largest value."""
        assert self.limits is not None
        if len(accepted):
            self._tail.note(self.limits.excess(float(accepted[:head].max())))
        if len(accepted) > head:
            starts = np.arange(head, len(accepted), self._stride)
            highest = np.maximum.reduceat(accepted, starts)
            self._tail.note(float(ahead.take(slice(0, len(starts))).excess(highest).max()))
        self._tail.note_scales(ahead)

    def _append(self, values: Floats, steps: Floats) -> None:
        window = self._settings.window
        self._values = np.concatenate([self._values, values])[-window:]
        self._steps = np.concatenate([self._steps, steps])[-window:]
        self._accepted += len(values)

    def _turn_block(self, count: int) -> None:
        """End the block of the tail if the last `count` points filled it."""
        block = WINDOWS * self._settings.window
        if self._accepted // block > (self._accepted - count) // block:
            self._tail.end_block(self._values)

    def _refresh(self) -> None:
        if len(self._values) < min(self._settings.warmup, self._settings.window):
            self.limits = None
            return
        baseline = sliding_baselines(self._values, window=len(self._values))
        self._tail.note_scales(baseline)
        self.limits = Limits(opens=float(self._opens(baseline)[0]), baseline=baseline)

    def _opens(self, baselines: Baselines) -> Floats:
        return baselines.reach(self._thresholds.z, self._thresholds.min_rise)
