"""Stretches of NaN, whatever the split of the records."""

import numpy as np
import pytest
from detectors.builders import INF, NAN

from mhcdiag.detectors.nonfinite import NonfiniteTracker
from mhcdiag.results.spikes import Event, EventKind


def fed(values: list[float], cut: int = 0, tracker: NonfiniteTracker | None = None) -> list[Event]:
    """Feed values at steps 0, 10, 20 and lines 1, 2, 3, in two pieces; return what closed and what is open."""
    tracker = tracker or NonfiniteTracker()
    closed: list[Event] = []
    value = np.array(values)
    for part in (slice(None, cut), slice(cut, None)):
        index = np.arange(len(values))[part]
        bad = ~np.isfinite(value[part])
        closed += tracker.feed(step=10.0 * index, line=index + 1, value=value[part], bad=bad)
    return closed


def stretch(**fields: object) -> str:
    known: dict[str, object] = {
        "kind": EventKind.NAN,
        "run": 0,
        "line": 3,
        "start": 20.0,
        "peak": 20.0,
        "end": 30.0,
        "value": NAN,
        "baseline": 2.0,
        "z": NAN,
        "points": 2,
        "duration": 20.0,
        "area": NAN,
        "recovered": True,
        "recovery_steps": 20.0,
        "note": "",
    }
    return repr(Event(**{**known, **fields}))


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize("cut", range(7))
def test_a_stretch_ends_with_the_first_finite_value(cut: int, bad: float) -> None:
    (event,) = fed([3.0, 2.0, bad, bad, 4.0, 5.0], cut)
    assert repr(event) == stretch()


@pytest.mark.parametrize("cut", range(5))
def test_an_open_stretch_has_not_come_back(cut: int) -> None:
    tracker = NonfiniteTracker()
    assert fed([3.0, 2.0, NAN, NAN], cut, tracker) == []
    assert repr(tracker.open_event()) == stretch(duration=10.0, recovered=None, recovery_steps=None)
    assert len(tracker.finish()) == 1
    assert (tracker.finish(), tracker.open_event()) == ([], None)


def test_a_resume_ends_it_unrecovered() -> None:
    tracker = NonfiniteTracker()
    fed([3.0, 2.0, NAN, NAN], tracker=tracker)
    (event,) = tracker.rewind()
    assert repr(event) == stretch(duration=10.0, recovered=False, recovery_steps=None, note="ended by a resume")
    assert (tracker.rewind(), tracker.open_event()) == ([], None)


@pytest.mark.parametrize("cut", range(6))
def test_the_baseline_is_the_last_value_before(cut: int) -> None:
    first, second = fed([NAN, 7.0, 6.0, NAN, 5.0], cut)
    assert repr(first.baseline) == "nan"
    assert (first.start, first.line, first.points, second.baseline, second.start) == (0.0, 1, 1, 6.0, 30.0)


def test_no_records_and_no_nan() -> None:
    assert fed([]) == []
    tracker = NonfiniteTracker()
    assert fed([1.0, 2.0], tracker=tracker) == []
    assert tracker.open_event() is None
    assert tracker.finish() == []
