"""Divergence: up, for long, and still so at the end."""

import numpy as np
import pytest
from detectors.builders import INF, alternating, points

from mhcdiag.detectors.baseline import linear_deviation
from mhcdiag.detectors.interface import Points
from mhcdiag.detectors.running_minimum import SMOOTHED, DivergenceTracker
from mhcdiag.results.spikes import Event, EventKind


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
    assert (event.kind, event.recovered) == (EventKind.DIVERGENCE, None)
    assert 701 < event.start < 1000


def test_a_rise_that_comes_back_is_none() -> None:
    (event,) = find(rising(back=1301))
    assert (event.kind, event.recovered) == (EventKind.SPIKE, True)


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


def step_up(count: int, *, size: float = 0.2, noise: float = 2.0**-20, back: int | None = None) -> np.ndarray:
    """Values around 1 that rise by `size` at index 256: looks at indices 287, 303, 319, ... are up."""
    values = alternating(1.0, noise, count)
    values[256:back] += size
    return values


def test_a_divergence_field_by_field() -> None:
    (event,) = find(step_up(400))
    assert (event.kind, event.run, event.line, event.start, event.peak, event.end) == (
        EventKind.DIVERGENCE,
        0,
        288,
        287.0,
        319.0,
        399.0,
    )
    assert event.value == pytest.approx(1.2)
    assert event.baseline == pytest.approx(1.0)
    # The first look of eight is halfway up.
    assert event.area == pytest.approx(16 * (0.1 + 7 * 0.2), rel=1e-4)
    assert (event.points, event.duration) == (128, 112.0)
    assert (event.recovered, event.recovery_steps, event.note) == (None, None, SMOOTHED)
    assert event.z > 1e4


@pytest.mark.parametrize(("count", "looks"), [(351, 0), (352, 5), (367, 5), (368, 6)])
def test_five_looks_sixteen_points_apart_confirm_it(count: int, looks: int) -> None:
    assert [event.points for event in find(step_up(count))] == ([16 * looks] if looks else [])


@pytest.mark.parametrize(("size", "found"), [(0.0999, 0), (0.1001, 1)])
def test_a_tenth_above_the_minimum(size: float, found: int) -> None:
    assert len(find(step_up(400, size=size))) == found


def test_exactly_a_tenth() -> None:
    values = alternating(1.0, 2.0**-20, 400)
    values[256:] = 1.1
    assert [event.start for event in find(values)] == [303.0]  # the first look at 48 of 64 such points


@pytest.mark.parametrize(("noise", "found"), [(0.0317, 1), (0.0318, 0)])
def test_three_deviations_of_the_noise_above_the_minimum(noise: float, found: int) -> None:
    # The noise of 256 points around a line, 48 of which are up already at the first look that is.
    assert len(find(step_up(400, noise=noise))) == found


def test_its_height_in_deviations_of_the_noise_where_it_began() -> None:
    values = step_up(400, noise=0.03)
    (event,) = find(values)
    noise = 1.4826 * linear_deviation(values[304 - 256 : 304])
    assert (event.start, event.z) == (303.0, pytest.approx((event.value - event.baseline) / noise))


def test_a_rise_that_comes_back_field_by_field() -> None:
    (event,) = find(step_up(512, back=384))
    assert (event.kind, event.start, event.peak, event.end) == (EventKind.SPIKE, 287.0, 319.0, 415.0)
    assert (event.duration, event.recovered, event.recovery_steps) == (144.0, True, 112.0)
    assert event.note == SMOOTHED


def test_a_short_rise_that_comes_back_is_none() -> None:
    assert find(step_up(512, back=300)) == []


def test_the_minimum_is_that_of_all_points_before() -> None:
    falling = alternating(2.0, 2.0**-20, 2000)
    falling[300:400] = 1.0
    falling[400:1600] = 1.05
    falling[1600:] = 1.101
    (event,) = find(falling)
    assert event.baseline == 1.0
    assert event.kind is EventKind.DIVERGENCE


def test_a_series_without_noise_lies_infinitely_far_above() -> None:
    values = np.full(700, 1.0)
    values[256:] = np.linspace(1.0, 1.3, 444)
    (event,) = find(values)
    assert event.z < INF
    tracker = DivergenceTracker()
    tracker.feed(points(np.full(64, 1.0)))
    assert tracker.open_event() is None


@pytest.mark.parametrize("low", [0.0, -1.0])
def test_zero_or_less_ends_an_open_rise(low: float) -> None:
    tracker = DivergenceTracker()
    tracker.feed(points(step_up(400)))
    assert tracker.open_event() is not None
    assert tracker.applies
    assert tracker.feed(points([low], first=400)) == []
    assert not tracker.applies
    assert tracker.open_event() is None
    assert tracker.feed(points(step_up(400), first=401)) == []


def test_a_resume_ends_it() -> None:
    tracker = DivergenceTracker()
    tracker.feed(points(step_up(400)))
    (event,) = tracker.rewind()
    assert (event.kind, event.recovered, event.note) == (EventKind.DIVERGENCE, False, f"{SMOOTHED}; ended by a resume")
    assert event.recovery_steps is None
    assert tracker.rewind() == []
    tracker.feed(points(step_up(340)))
    assert tracker.rewind() == []


def test_what_ended_is_not_found_again() -> None:
    tracker = DivergenceTracker()
    tracker.feed(points(step_up(400)))
    assert len(tracker.finish()) == 1
    assert tracker.finish() == []


def test_the_first_look_is_at_the_64th_value() -> None:
    # The median of the first 64 values is low; that of every later stretch of 64 is not.
    values = alternating(1.0, 2.0**-20, 400)
    values[33:] += 0.2
    (event,) = find(values)
    assert event.baseline == pytest.approx(1.0, abs=1e-3)
