"""The loss scaler: an event is the way down to the minimum, from above."""

import numpy as np
import pytest
from detectors.builders import NAN

from mhcdiag.detectors.nonfinite import FAIRSEQ_MINIMUM, MINIMUM, ScalerTracker, scaler_event
from mhcdiag.results.spikes import Event, EventKind


def fed(scales: list[float], *, minimum: float = MINIMUM, cut: int = 0) -> tuple[ScalerTracker, list[Event]]:
    """Feed scales at steps 0, 10, 20 and lines 1, 2, 3, in two pieces."""
    tracker = ScalerTracker(minimum)
    closed: list[Event] = []
    for part in (slice(None, cut), slice(cut, None)):
        scale = np.array(scales)[part]
        index = np.arange(len(scales))[part]
        closed += tracker.feed(step=10.0 * index, line=index + 1, scale=scale)
    return tracker, closed


def test_the_scales_at_which_scalers_give_up() -> None:
    assert (MINIMUM, FAIRSEQ_MINIMUM) == (1.0, 1e-4)


@pytest.mark.parametrize("scale", [1.0, 0.5, 4.0])
def test_a_constant_scale_is_no_scaler(scale: float) -> None:
    tracker, closed = fed([scale] * 7)
    assert (tracker.open_event(), closed, tracker.halvings) == (None, [], 0)


@pytest.mark.parametrize("cut", range(6))
def test_the_first_record_at_the_minimum_opens_the_event(cut: int) -> None:
    tracker, closed = fed([4.0, 2.0, 1.0, 1.0, 0.5], cut=cut)
    assert closed == []
    assert tracker.halvings == 3
    event = tracker.open_event()
    assert event is not None
    assert (event.kind, event.line, event.start, event.peak, event.end) == (EventKind.LOSS_SCALE, 3, 20.0, 20.0, 20.0)
    assert (event.value, event.baseline, event.points, event.duration) == (1.0, 2.0, 1, 0.0)
    assert (event.recovered, event.recovery_steps, event.run, event.note) == (None, None, 0, "")
    assert np.isnan(event.z)
    assert np.isnan(event.area)


@pytest.mark.parametrize("cut", range(6))
def test_a_scale_above_the_minimum_closes_the_event(cut: int) -> None:
    tracker, (event,) = fed([2.0, 1.0, 1.0, 2.0, 2.0], cut=cut)
    assert (event.start, event.end, event.duration) == (10.0, 10.0, 20.0)
    assert (event.recovered, event.recovery_steps) == (True, 20.0)
    assert (tracker.open_event(), tracker.halvings) == (None, 1)


@pytest.mark.parametrize(
    ("scale", "minimum", "opened"),
    [
        (1.0, MINIMUM, True),
        (0.99, MINIMUM, True),
        (1.01, MINIMUM, False),
        (FAIRSEQ_MINIMUM, FAIRSEQ_MINIMUM, True),
        (0.5, FAIRSEQ_MINIMUM, False),
    ],
)
def test_the_minimum_itself_counts(scale: float, minimum: float, opened: bool) -> None:
    tracker, _ = fed([4.0, scale], minimum=minimum)
    assert (tracker.open_event() is not None) == opened


def test_each_way_down_is_an_event_and_rising_is_no_halving() -> None:
    tracker, closed = fed([2.0, 1.0, 4.0, 2.0, 1.0])
    assert [event.start for event in closed] == [10.0]
    assert [event.start for event in tracker.finish()] == [40.0]
    assert tracker.finish() == []
    assert tracker.halvings == 3


def test_below_the_minimum_from_the_start_it_was_never_above() -> None:
    tracker, closed = fed([1.0, 0.5, 0.25])
    assert (tracker.open_event(), closed, tracker.halvings) == (None, [], 2)


def test_the_event_of_a_message() -> None:
    event = scaler_event(line=7, step=3.0, value=2.0, note="gave up")
    assert (event.kind, event.run, event.line, event.start) == (EventKind.LOSS_SCALE, 0, 7, 3.0)
    assert repr((event.value, event.baseline)) == repr((2.0, NAN))
    assert event.note == "gave up"
