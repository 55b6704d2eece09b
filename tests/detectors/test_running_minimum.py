"""Divergence: up, for long, and still so at the end."""

import numpy as np
import pytest

from mhcdiag.detectors.interface import Points
from mhcdiag.detectors.running_minimum import DivergenceTracker
from mhcdiag.results.spikes import Event, Kind


def find(values: np.ndarray, size: int = 10**6) -> list[Event]:
    tracker, found = DivergenceTracker(), []
    for first in range(0, len(values), size):
        part = np.arange(first, min(first + size, len(values)))
        found += tracker.feed(Points(step=part.astype(np.float64), line=part + 1, value=values[part]))
    return found + tracker.finish()


def rising(back: int | None = None) -> np.ndarray:
    values = 2.5 + 0.02 * np.random.default_rng(0).standard_normal(1511)
    values[701:] += np.linspace(0, 1.5, 810)
    if back is not None:
        values[back:] -= np.linspace(0, 1.5, 810)[back - 701 :]
    return values


def test_a_slow_rise_that_stays_is_a_divergence() -> None:
    (event,) = find(rising())
    assert (event.kind, event.recovered) == (Kind.DIVERGENCE, None)
    assert 701 < event.start < 1000


def test_a_rise_that_comes_back_is_none() -> None:
    (event,) = find(rising(back=1301))
    assert (event.kind, event.recovered) == (Kind.SPIKE, True)


def test_a_falling_loss_and_a_spike_are_none() -> None:
    values = 2.5 + 8 * (1 + np.arange(1511) / 53) ** -0.8
    values[701:719] += 5.0
    assert find(values) == []


@pytest.mark.parametrize("size", [1, 7, 16, 97, 500])
def test_the_split_does_not_matter(size: int) -> None:
    assert find(rising(), size) == find(rising())


def test_zero_ends_the_test() -> None:
    values = rising()
    values[31] = 0.0
    assert find(values) == []
