"""Ranks whose loss differs from that of the others: bad data or hardware, hidden by the mean of the step."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from mhcdiag.results.spikes import Event, EventKind

FACTOR = 2.0
"""How many times the median of the ranks a loss must be."""

LEAST = 3
"""Ranks without which there is no median to differ from."""

NAMELESS = 3
"""Steps in a row that must differ where ranks have no name: one micro-batch may well have twice the loss."""


@dataclass(kw_only=True, slots=True)
class _Stretch:
    """Steps in a row at which a rank differs."""

    rank: int
    line: int
    start: float
    end: float
    peak: float
    value: float
    median: float
    points: int = 1

    def event(self, *, back: float | None) -> Event:
        who = f"rank {self.rank}" if self.rank >= 0 else "one record of the step"
        return Event(
            kind=EventKind.RANK,
            run=0,
            line=self.line,
            start=self.start,
            peak=self.peak,
            end=self.end,
            value=self.value,
            baseline=self.median,
            z=np.nan,
            points=self.points,
            duration=(self.end if back is None else back) - self.start,
            area=np.nan,
            recovered=None if back is None else True,
            recovery_steps=None if back is None else back - self.peak,
            note=f"{who} is above {FACTOR:g} times the median of the ranks",
        )


class RankTracker:
    """Compares the losses of each step of one run."""

    def __init__(self) -> None:
        self._open: _Stretch | None = None

    def feed(self, *, step: float, line: int, losses: Sequence[float], ranks: Sequence[int]) -> list[Event]:
        """Take the finite losses of the next step and return the event that ended with it.

        Parameters
        ----------
        step, line
            Of the step.
        losses, ranks
            One entry per record; -1 for a rank that is not known.
        """
        if len(losses) < LEAST:
            return []
        middle, value = median(losses), max(losses)
        rank = ranks[losses.index(value)]
        differs = middle > 0 and value > FACTOR * middle
        closed: list[Event] = []
        if self._open is not None and not (differs and rank == self._open.rank):
            closed = self._close(step)
        if not differs:
            return closed
        if self._open is None:
            self._open = _Stretch(rank=rank, line=line, start=step, end=step, peak=step, value=value, median=middle)
            return closed
        self._open.end, self._open.points = step, self._open.points + 1
        if value > self._open.value:
            self._open.peak, self._open.value, self._open.median = step, value, middle
        return closed

    def open_event(self) -> Event | None:
        """Return the event that is open now."""
        return self._open.event(back=None) if self._open is not None and self._counts(self._open) else None

    def finish(self) -> list[Event]:
        """Return the event that is still open, for good."""
        event, self._open = self.open_event(), None
        return [] if event is None else [event]

    def _close(self, step: float) -> list[Event]:
        stretch, self._open = self._open, None
        return [stretch.event(back=step)] if stretch is not None and self._counts(stretch) else []

    @staticmethod
    def _counts(stretch: _Stretch) -> bool:
        return stretch.rank >= 0 or stretch.points >= NAMELESS
