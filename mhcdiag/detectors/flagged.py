"""Events from the points that a published rule flags; the rules themselves say nothing about events.

Grouping, closing and naming follow our own rule (`excursions`), so that `--rule` compares which points are flagged and
nothing else. A rule has neither level nor deviations of its own to show: the baseline is a plain median, z is NaN.
"""

from collections import deque
from statistics import median

from mhcdiag.detectors.interface import Points, PublishedRule
from mhcdiag.results.spikes import Event, EventKind

CALM = 3
"""Unflagged points in a row that end an event, as in our own rule."""

BASELINE = 32
"""Unflagged points whose median is shown as the baseline."""


class FlagTracker:
    """Groups the flagged points of one series of one run."""

    def __init__(self, rule: PublishedRule) -> None:
        self._flagger = rule.start()
        self._before: deque[float] = deque(maxlen=BASELINE)
        self._open: list[tuple[float, int, float]] = []
        self._calm: list[tuple[float, float]] = []
        self._longest = 0
        self._neighbours = 0

    def feed(self, points: Points) -> list[Event]:
        """Take the next points and return the events that closed with them."""
        closed: list[Event] = []
        flags = self._flagger.feed(points.value)
        # Nearly all calls end here, without a loop over points.
        if not flags.any() and not self._open:
            self._before.extend(points.value[-BASELINE:].tolist())
            return closed
        for step, line, value, flag in zip(
            points.step.tolist(), points.line.tolist(), points.value.tolist(), flags.tolist(), strict=True
        ):
            if flag:
                # Calm points between two flagged ones belong to the event, but break the row of neighbours.
                self._neighbours = 1 if self._calm else self._neighbours + 1
                self._longest = max(self._longest, self._neighbours)
                self._open.append((step, line, value))
                self._calm.clear()
            elif not self._open:
                self._before.append(value)
            else:
                self._calm.append((step, value))
                if len(self._calm) >= CALM:
                    closed.append(self._event(recovered=True))
                    self._forget()
        return closed

    def open_event(self) -> Event | None:
        """Return the event that is open now, as it would stand if the log ended here."""
        return self._event(recovered=None) if self._open else None

    def finish(self) -> list[Event]:
        """Return the event that is still open, for good."""
        event = self.open_event()
        self._forget()
        return [] if event is None else [event]

    def rewind(self, step: float) -> list[Event]:  # noqa: ARG002 - the published rules know no resume
        """End the open event: the run went back to a checkpoint."""
        closed = [self._event(recovered=False, note="ended by a resume")] if self._open else []
        self._forget()
        return closed

    def _forget(self) -> None:
        self._before.extend(value for _, value in self._calm)
        self._open, self._calm = [], []
        self._longest = self._neighbours = 0

    def _event(self, *, recovered: bool | None, note: str = "") -> Event:
        start, line, _ = self._open[0]
        peak, _, value = max(self._open, key=lambda point: point[2])
        baseline = median(self._before) if self._before else float("nan")
        back = self._calm[0][0] if recovered else (self._calm[-1][0] if self._calm else self._open[-1][0])
        return Event(
            kind=EventKind.BLIP if self._longest < 2 else EventKind.SPIKE,
            run=0,
            line=line,
            start=start,
            peak=peak,
            end=self._open[-1][0],
            value=value,
            baseline=baseline,
            z=float("nan"),
            points=len(self._open),
            duration=back - start,
            area=sum(one - baseline for _, _, one in self._open),
            recovered=recovered,
            recovery_steps=back - peak if recovered else None,
            note=note,
        )
