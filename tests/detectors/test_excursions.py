"""Laws of the default rule."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mhcdiag.detectors.excursions import ExcursionTracker
from mhcdiag.detectors.interface import LOSS_THRESHOLDS, DetectionSettings, Points
from mhcdiag.results.spikes import Event, EventKind

START = 701


def points(values: np.ndarray) -> Points:
    return Points(step=np.arange(len(values), dtype=np.float64), line=np.arange(1, len(values) + 1), value=values)


def find(values: np.ndarray, cuts: tuple[int, ...] = ()) -> list[Event]:
    tracker, found = ExcursionTracker(DetectionSettings(), LOSS_THRESHOLDS), []
    whole = points(values)
    for first, after in zip([0, *cuts], [*cuts, len(values)], strict=True):
        part = slice(first, after)
        found += tracker.feed(Points(step=whole.step[part], line=whole.line[part], value=whole.value[part]))
    return found + tracker.finish()


def loss(seed: int = 0, length: int = 1301, noise: float = 0.02) -> np.ndarray:
    random = np.random.default_rng(seed)
    return 2.3 + 8 * (1 + np.arange(length) / 53) ** -0.8 + noise * random.standard_normal(length)


def spiky(seed: int = 0, length: int = 1301) -> np.ndarray:
    values = loss(seed, length)
    values[317] += 1.1
    values[START : START + 7] += 2.0
    values[-61] += 0.9
    return values


def test_a_clean_curve_has_no_events() -> None:
    assert [find(loss(seed)) for seed in range(7)] == [[]] * 7


def test_falling_is_never_an_event() -> None:
    values = loss()
    values[START:] -= 1.0
    values[1009] -= 2.0
    assert find(values) == []


def test_points_and_their_neighbours_decide_the_kind() -> None:
    found = find(spiky())
    assert [(event.kind, event.start, event.points) for event in found] == [
        (EventKind.BLIP, 317, 1),
        (EventKind.SPIKE, START, 7),
        (EventKind.BLIP, 1240, 1),
    ]
    assert all(event.recovered for event in found)
    assert found[1].duration == 7


def test_a_new_stable_level_is_a_shift() -> None:
    values = loss()
    values[START:] += 1.0
    (event,) = find(values)
    assert (event.kind, event.start, event.recovered) == (EventKind.SHIFT, START, False)


def test_an_event_at_the_end_is_open() -> None:
    values = loss()
    values[-5:] += 1.0
    (event,) = find(values)
    assert (event.kind, event.recovered, event.recovery_steps) == (EventKind.SPIKE, None, None)


@pytest.mark.parametrize("factor", [2.0**-20, 0.125, 2.0, 1024.0])
def test_a_power_of_two_changes_no_event(factor: float) -> None:
    def shape(events: list[Event]) -> list[tuple[object, ...]]:
        return [(event.kind, event.start, event.peak, event.end, event.recovered) for event in events]

    assert shape(find(spiky() * factor)) == shape(find(spiky()))


@settings(max_examples=25, deadline=None)
@given(st.floats(1e-6, 1e6), st.integers(0, 20))
def test_any_positive_factor_changes_no_event(factor: float, seed: int) -> None:
    plain, scaled = find(spiky(seed)), find(spiky(seed) * factor)
    assert [(one.kind, one.start, one.end) for one in scaled] == [(one.kind, one.start, one.end) for one in plain]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 1301), max_size=12), st.integers(0, 20))
def test_the_split_of_the_points_does_not_matter(cuts: list[int], seed: int) -> None:
    assert find(spiky(seed), tuple(sorted(cuts))) == find(spiky(seed))


def test_point_by_point_is_the_same_over_many_blocks() -> None:
    random = np.random.default_rng(3)
    values = 2.5 + 0.03 * random.standard_t(4, 9001)
    assert find(values, tuple(range(1, 9001))) == find(values)


@settings(max_examples=25, deadline=None)
@given(st.integers(800, 1301), st.integers(0, 20))
def test_later_points_change_no_closed_event(length: int, seed: int) -> None:
    values = spiky(seed)
    closed = ExcursionTracker(DetectionSettings(), LOSS_THRESHOLDS).feed(points(values[:length]))
    assert find(values)[: len(closed)] == closed


def test_rounded_values_are_no_spikes() -> None:
    random = np.random.default_rng(5)
    assert find(np.round(0.695 + 0.004 * random.standard_normal(5003), 2)) == []


def test_a_constant_series_has_a_scale() -> None:
    values = np.full(503, 2.5)
    values[401] = 3.0
    (event,) = find(values)
    assert (event.kind, event.start) == (EventKind.BLIP, 401)
    assert np.isfinite(event.z)


def test_signed_losses_are_judged() -> None:
    values = 0.1 * np.random.default_rng(7).standard_normal(701)
    values[601:605] += 3.0
    assert [(event.kind, event.start) for event in find(values)] == [(EventKind.SPIKE, 601)]


def test_a_spike_does_not_hide_the_next() -> None:
    values = loss()
    values[START] += 3.0
    values[START + 9] += 1.0
    assert [event.start for event in find(values)] == [START, START + 9]


def test_a_resume_forgets_what_it_replaces_and_ends_the_event() -> None:
    values = loss()
    values[1100:] += 2.0
    tracker = ExcursionTracker(DetectionSettings(), LOSS_THRESHOLDS)
    assert tracker.feed(points(values[:1110])) == []
    (event,) = tracker.rewind(1000.0)
    assert (event.recovered, event.note) == (False, "ended by a resume")
    assert tracker.open_event() is None
