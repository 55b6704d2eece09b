"""Events from flagged points: what belongs together, and what it is called."""

import numpy as np
import pytest
from detectors.builders import points

from mhcdiag.detectors.flagged import BASELINE, CALM, FlagTracker
from mhcdiag.detectors.interface import Floats
from mhcdiag.results.spikes import Event, EventKind


class AboveFive:
    """A rule that flags values above 5."""

    name = title = explanation = "above five"

    def start(self) -> "AboveFive":
        return self

    def feed(self, values: Floats) -> np.ndarray:
        return np.asarray(values > 5)


def fed(values: list[float], cut: int = 0) -> tuple[FlagTracker, list[Event]]:
    tracker = FlagTracker(AboveFive())
    closed = tracker.feed(points(values[:cut], every=10)) + tracker.feed(points(values[cut:], first=cut, every=10))
    return tracker, closed


SPIKE = [1.0, 2.0, 7.0, 9.0, 8.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize("cut", range(len(SPIKE) + 1))
def test_three_calm_points_close_a_spike(cut: int) -> None:
    assert CALM == 3
    tracker, (event,) = fed(SPIKE, cut)
    assert (event.kind, event.run, event.line, event.start, event.peak, event.end) == (
        EventKind.SPIKE,
        0,
        3,
        20,
        30,
        40,
    )
    assert (event.value, event.baseline, event.points, event.duration) == (9.0, 1.5, 3, 30.0)
    assert (event.area, event.recovered, event.recovery_steps, event.note) == (19.5, True, 20.0, "")
    assert np.isnan(event.z)
    assert tracker.open_event() is None
    assert tracker.finish() == []


def test_two_calm_points_do_not() -> None:
    tracker, closed = fed(SPIKE[:-1])
    assert closed == []
    event = tracker.open_event()
    assert event is not None
    assert (event.recovered, event.recovery_steps, event.end, event.duration) == (None, None, 40.0, 40.0)
    assert len(tracker.finish()) == 1
    assert tracker.finish() == []


def test_an_event_that_still_runs_lasts_to_its_last_point() -> None:
    tracker, _ = fed(SPIKE[:5])
    event = tracker.open_event()
    assert event is not None
    assert event.duration == 20.0


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([7.0], EventKind.BLIP),
        ([7.0, 7.0], EventKind.SPIKE),
        ([7.0, 1.0, 7.0], EventKind.BLIP),
        ([7.0, 1.0, 7.0, 7.0], EventKind.SPIKE),
        ([7.0, 7.0, 1.0, 7.0], EventKind.SPIKE),
    ],
)
def test_two_flagged_neighbours_make_a_spike(values: list[float], kind: EventKind) -> None:
    _, (event,) = fed([1.0, *values, 1.0, 1.0, 1.0])
    assert (event.kind, event.points) == (kind, sum(value > 5 for value in values))


def test_an_event_forgets_the_one_before() -> None:
    _, (first, second) = fed([1.0, 7.0, 7.0, 2.0, 3.0, 4.0, 8.0, 2.0, 2.0, 2.0])
    assert (first.kind, second.kind) == (EventKind.SPIKE, EventKind.BLIP)
    assert (second.start, second.baseline) == (60.0, 2.5)  # the calm points of the first count


def test_without_points_before_there_is_no_baseline() -> None:
    tracker, _ = fed([7.0])
    event = tracker.open_event()
    assert event is not None
    assert np.isnan(event.baseline)


@pytest.mark.parametrize("cut", [0, 1, 33])
def test_the_baseline_is_the_median_of_32_points(cut: int) -> None:
    assert BASELINE == 32
    tracker, _ = fed([0.0, *[1.0] * 16, *[2.0] * 16, 7.0], cut)
    event = tracker.open_event()
    assert event is not None
    assert event.baseline == 1.5


def test_a_resume_ends_the_open_event() -> None:
    tracker, _ = fed(SPIKE[:5])
    (event,) = tracker.rewind(0.0)
    assert (event.recovered, event.recovery_steps, event.note) == (False, None, "ended by a resume")
    assert tracker.rewind(0.0) == []
