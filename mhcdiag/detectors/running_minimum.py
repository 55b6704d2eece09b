"""Divergence: the smoothed series stays above its own running minimum.

A run diverges when the median of its last 64 points is a tenth above the smallest such median so far, and
above it by three deviations of the noise, for 64 points, and is so still at the end. The comparison with
the minimum does not care how high the series started, which a comparison of the first and the last tenth of a run does:
that one is blind to a run that starts at 11 nats. The noise clause keeps small-batch fine-tuning out: without it the
rule fires on a data phase of nanoswe's log (0.32 to 0.44), and with a median of 16 points on two more runs that are
well. (The ratio to the minimum is the early-stopping rule of OLMo's first trainer; the smoothing, the persistence and
the noise clause are ours.)

A series that reaches zero or less has no ratio; the test is left out from then on (`applies`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mhcdiag.detectors.baseline import MAD_TO_SIGMA, linear_deviation, medians
from mhcdiag.detectors.interface import Floats, Points
from mhcdiag.results.spikes import Event, EventKind

SMOOTHING = 64
"""Points of the median; also how long it must stay up."""

RATIO = 1.10
"""Smoothed series over its running minimum; the one labelled divergence of the corpus (a run of SPAM's) reached 1.46,
at 24 deviations."""

DEVIATIONS = 3.0
"""Deviations of the noise by which it must lie above the minimum."""

NOISE = 256
"""Points from which the noise is estimated."""

SMOOTHED = "smoothed over 64 points"
"""Says in a report that value and steps are those of the running median."""

STRIDE = 16
"""Points between two looks: a median of 64 does not move faster."""


@dataclass(kw_only=True, slots=True)
class _Rise:
    """A stretch above the minimum while it lasts."""

    line: int
    start: float
    minimum: float
    noise: float
    peak: float
    value: float
    end: float = 0.0
    looks: int = 0
    area: float = 0.0

    def take(self, step: float, value: float) -> None:
        """Add a look at which the series was up."""
        self.looks += 1
        self.end = step
        self.area += (value - self.minimum) * STRIDE
        if value > self.value:
            self.value, self.peak = value, step

    @property
    def confirmed(self) -> bool:
        """Whether it has lasted long enough."""
        return (self.looks - 1) * STRIDE >= SMOOTHING

    def event(self, *, back: float | None = None, note: str = "") -> Event:
        """Return the event as it stands; one that came back was a long spike."""
        recovered = None if back is None and not note else back is not None
        until = self.end if back is None else back
        return Event(
            kind=EventKind.SPIKE if back is not None else EventKind.DIVERGENCE,
            run=0,
            line=self.line,
            start=self.start,
            peak=self.peak,
            end=self.end,
            value=self.value,
            baseline=self.minimum,
            z=(self.value - self.minimum) / self.noise if self.noise else np.inf,
            points=self.looks * STRIDE,
            duration=until - self.start,
            area=self.area,
            recovered=recovered,
            recovery_steps=None if back is None else back - self.peak,
            note=f"{SMOOTHED}; {note}" if note else SMOOTHED,
        )


class DivergenceTracker:
    """Watches the running minimum of one series of one run.

    A slow rise is not for `excursions`: the level follows it, and no point stands out.
    """

    def __init__(self) -> None:
        self.applies = True
        """False once the series has reached zero or less."""
        self._minimum = np.inf
        self._values: Floats = np.empty(0)
        self._count = 0
        self._rise: _Rise | None = None

    def feed(self, points: Points) -> list[Event]:
        """Take the next points and return the rises that ended with them."""
        if not self.applies or not len(points):
            return []
        if points.value.min() <= 0:  # losses of PPO are signed: there is no ratio to a minimum
            self.applies, self._rise = False, None  # for good: a minimum of zero would make any rise infinite
            return []
        known = np.concatenate([self._values, points.value])
        offset = len(self._values)
        # Looks fall on multiples of the stride, whatever the number of points per call. Every look sorts 64 points;
        # nearly all of them end with the ratio, and only those that are high go on to the noise.
        ends = np.arange(-self._count % STRIDE or STRIDE, len(points) + 1, STRIDE)
        ends = ends[self._count + ends >= SMOOTHING]
        self._count += len(points)
        self._values = known[-NOISE:]
        if not len(ends):
            return []
        smooth = medians(known, ends + offset, SMOOTHING)
        minima = np.minimum.accumulate(np.concatenate([[self._minimum], smooth]))[:-1]
        # A look is compared with the minimum before it, and becomes part of it afterwards.
        self._minimum = min(float(minima[-1]), float(smooth[-1]))
        high = smooth >= RATIO * minima
        closed: list[Event] = []
        for look in np.flatnonzero(high | _after(high, self._rise is not None)).tolist():
            point = int(ends[look]) - 1
            recent = known[max(point + 1 + offset - NOISE, 0) : point + 1 + offset]
            rise = self._look(
                _Look(
                    step=float(points.step[point]),
                    line=int(points.line[point]),
                    value=float(smooth[look]),
                    minimum=float(minima[look]),
                ),
                recent,
            )
            if rise is not None and rise.confirmed:
                closed.append(rise.event(back=float(points.step[point])))
        return closed

    def open_event(self) -> Event | None:
        """Return the divergence as it stands, if the series has been up for long enough."""
        return self._rise.event() if self._rise is not None and self._rise.confirmed else None

    def finish(self) -> list[Event]:
        """Return the divergence that is open at the end."""
        event = self.open_event()
        self._rise = None
        return [] if event is None else [event]

    def rewind(self) -> list[Event]:
        """End the divergence because the run went back to a checkpoint."""
        rise, self._rise = self._rise, None
        return [rise.event(note="ended by a resume")] if rise is not None and rise.confirmed else []

    def _look(self, look: "_Look", recent: Floats) -> _Rise | None:
        """Judge one value of the smoothed series and return the rise that ends with it."""
        # The noise is measured where a rise begins, and kept: the points of the rise would make it larger.
        if self._rise is None:
            noise = MAD_TO_SIGMA * linear_deviation(recent)
            if not _is_high(look, noise):
                return None
            self._rise = _Rise(
                line=look.line,
                start=look.step,
                minimum=look.minimum,
                noise=noise,
                peak=look.step,
                value=look.value,
            )
        elif not _is_high(look, self._rise.noise):
            rise, self._rise = self._rise, None
            return rise
        self._rise.take(look.step, look.value)
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Look:
    """One value of the smoothed series, and its smallest value before."""

    step: float
    line: int
    value: float
    minimum: float


def _is_high(look: _Look, noise: float) -> bool:
    return look.value >= RATIO * look.minimum and look.value - look.minimum >= DEVIATIONS * noise


def _after(high: NDArray[np.bool_], before: bool) -> NDArray[np.bool_]:
    """Looks that follow a high one: there a rise may end."""
    return np.concatenate([[before], high[:-1]])
