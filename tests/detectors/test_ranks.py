"""Ranks whose loss differs from that of the others."""

import pytest

from mhcdiag.detectors.ranks import FACTOR, LEAST, NAMELESS, RankTracker
from mhcdiag.results.spikes import Event, EventKind


def fed(*steps: list[float], ranks: list[int] | None = None) -> tuple[list[Event], RankTracker]:
    tracker = RankTracker()
    closed = []
    for at, losses in enumerate(steps, start=1):
        closed += tracker.feed(step=10.0 * at, line=at, losses=losses, ranks=ranks or list(range(len(losses))))
    return closed, tracker


EVEN, ODD, HIGHER = [2.0, 2.0, 2.0, 2.1], [2.0, 2.0, 2.0, 4.1], [2.0, 2.0, 2.0, 5.0]


def test_the_thresholds() -> None:
    assert (FACTOR, LEAST, NAMELESS) == (2.0, 3, 3)


@pytest.mark.parametrize(
    ("losses", "differs"),
    [
        ([2.0, 2.0, 4.0], False),
        ([2.0, 2.0, 4.01], True),
        ([2.0, 9.0], False),  # of two there is no median to differ from
        ([-1.0, -1.0, 5.0], False),
        ([0.0, 0.0, 5.0], False),
    ],
)
def test_twice_the_median_of_three(losses: list[float], differs: bool) -> None:
    _, tracker = fed(losses)
    assert (tracker.open_event() is not None) == differs


def test_steps_in_a_row_are_one_event() -> None:
    (event,), tracker = fed(EVEN, ODD, HIGHER, EVEN, EVEN)
    assert (event.kind, event.line, event.start, event.peak, event.end) == (EventKind.RANK, 2, 20.0, 30.0, 30.0)
    assert (event.value, event.baseline, event.points, event.recovered) == (5.0, 2.0, 2, True)
    assert (event.duration, event.recovery_steps) == (20.0, 10.0)
    assert event.note == "rank 3 differs: above 2 times the median of the ranks"
    assert tracker.open_event() is None


def test_another_rank_is_another_event() -> None:
    closed, tracker = fed(ODD, [5.0, 2.0, 2.0, 2.0])
    assert [event.start for event in closed] == [10.0]
    event = tracker.open_event()
    assert event is not None
    assert (event.start, event.recovered, event.note[:6]) == (20.0, None, "rank 0")
    assert len(tracker.finish()) == 1
    assert tracker.finish() == []


@pytest.mark.parametrize(("count", "events"), [(2, 0), (3, 1)])
def test_without_a_name_three_steps_in_a_row(count: int, events: int) -> None:
    closed, _ = fed(*[ODD] * count, EVEN, ranks=[-1] * 4)
    assert len(closed) == events
    assert [event.note for event in closed] == [
        "one record of the step differs: above 2 times the median of the ranks"
    ] * events
