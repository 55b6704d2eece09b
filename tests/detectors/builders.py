"""Points and events for the tests of the detectors."""

from dataclasses import replace

import numpy as np

from mhcdiag.detectors.interface import Points
from mhcdiag.results.spikes import Event, EventKind

NAN, INF = float("nan"), float("inf")

EVENT = Event(
    kind=EventKind.SPIKE,
    run=0,
    line=101,
    start=100.0,
    peak=101.0,
    end=102.0,
    value=9.0,
    baseline=2.5,
    z=30.0,
    points=3,
    duration=3.0,
    area=13.0,
    recovered=True,
    recovery_steps=2.0,
)


def an_event(**changes: object) -> Event:
    """A closed spike of three points from step 100, with some fields replaced."""
    return replace(EVENT, **changes)


def points(values: list[float] | np.ndarray, *, first: int = 0, every: float = 1.0) -> Points:
    """Points of a series; point i has step i * every and line i + 1, and `first` is the index of the first."""
    index = np.arange(first, first + len(values))
    return Points(step=index * every, line=index + 1, value=np.array(values, dtype=np.float64))


def alternating(level: float, size: float, count: int) -> np.ndarray:
    """Values that lie by turns `size` below and above a level: median, mean and deviations are exact."""
    return level + size * np.where(np.arange(count) % 2, 1.0, -1.0)
