"""Which event of the gradient norm belongs to an event of the loss."""

import math

import pytest
from detectors.builders import NAN, an_event

from mhcdiag.detectors.log import LEAD, NEAREST, with_companions
from mhcdiag.results.spikes import Companion, Event

LOSS = an_event()  # three points from 100 to 102: a logging interval of one step


def norm(start: float, end: float | None = None, value: float = 5.0, run: int = 0) -> Event:
    return an_event(start=start, peak=start + 0.5, end=start if end is None else end, value=value, run=run)


def companion(loss: Event, *norms: Event) -> Companion | None:
    (found,) = with_companions((loss,), norms)
    return found.companion


@pytest.mark.parametrize(
    ("start", "first"), [(99.0, "grad_norm"), (100.0, "same step"), (101.0, "loss"), (102.0, "loss")]
)
def test_what_moved_first(start: float, first: str) -> None:
    assert companion(LOSS, norm(start)) == Companion(start=start, peak=start + 0.5, value=5.0, first=first)


@pytest.mark.parametrize(
    ("duration", "count", "reach"),
    [(3.0, 3, 10.0), (60.0, 3, 200.0), (0.0, 1, 10.0), (0.5, 1, 10.0), (7.0, 0, 70.0), (15.0, 10, 15.0)],
)
def test_the_norm_may_lead_by_ten_logging_intervals(duration: float, count: int, reach: float) -> None:
    loss = an_event(duration=duration, points=count)
    assert LEAD == 10.0
    assert companion(loss, norm(0.0, 100.0 - reach)) is not None
    assert companion(loss, norm(0.0, 100.0 - reach - 0.01)) is None


@pytest.mark.parametrize(("start", "found"), [(101.99, True), (102.0, True), (102.01, False)])
def test_a_norm_that_moves_after_the_event_is_none_of_it(start: float, found: bool) -> None:
    assert (companion(LOSS, norm(start)) is not None) == found


@pytest.mark.parametrize(("run", "found"), [(0, False), (1, True), (2, False)])
def test_only_norms_of_the_same_run(run: int, found: bool) -> None:
    assert (companion(an_event(run=1), norm(100.0, run=run)) is not None) == found


def test_the_strongest_counts_and_nan_beats_all() -> None:
    strong = companion(LOSS, norm(98.0, value=3.0), norm(99.0, value=7.0), norm(100.0, value=5.0))
    assert strong is not None
    assert (strong.start, strong.value) == (99.0, 7.0)
    dead = companion(LOSS, norm(98.0, value=3.0), norm(99.0, value=NAN), norm(100.0, value=5.0))
    assert dead is not None
    assert dead.start == 99.0
    assert math.isnan(dead.value)


@pytest.mark.parametrize(("later", "value"), [(NEAREST - 1, 9.0), (NEAREST, 1.0)])
def test_the_sixteen_nearest_are_looked_at(later: int, value: float) -> None:
    assert NEAREST == 16
    found = companion(LOSS, norm(95.0, value=9.0), *(norm(96.0 + n / 8, value=1.0) for n in range(later)))
    assert found is not None
    assert found.value == value


def test_every_loss_event_is_kept_in_order() -> None:
    lonely = an_event(start=5000.0, end=5001.0)
    assert with_companions((LOSS, lonely), ()) == (LOSS, lonely)
    first, second = with_companions((LOSS, lonely), (norm(100.0),))
    assert (first.companion is not None, second) == (True, lonely)
