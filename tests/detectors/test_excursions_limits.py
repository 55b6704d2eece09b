"""The default rule at its limits, on series whose level and noise are exact."""

import math

import numpy as np
import pytest
from detectors.builders import alternating, points

from mhcdiag.detectors.excursions import CALM, NEIGHBOURS, STABLE, ExcursionTracker
from mhcdiag.detectors.interface import DetectionSettings, Thresholds
from mhcdiag.results.spikes import Event, EventKind

SMALL = DetectionSettings(window=16, warmup=8)
WIDE = Thresholds(z=6.0, min_rise=0.5)
"""With values by turns at 1.99 and 2.01: opens at 3, closes below 2.5."""
LEVEL = math.sqrt(1.99 * 2.01)
COURSE = alternating(2.0, 0.01, 40)


def fed(
    values: list[float] | np.ndarray, *, course: np.ndarray = COURSE, thresholds: Thresholds = WIDE
) -> ExcursionTracker:
    """A tracker after a course and some more values, at steps 0, 10, 20; what closed is its attribute."""
    tracker = ExcursionTracker(SMALL, thresholds)
    assert tracker.feed(points(course, every=10.0)) == []
    tracker.closed = tracker.feed(points(values, first=len(course), every=10.0))
    return tracker


def kinds(events: list[Event]) -> list[tuple[EventKind, int]]:
    return [(event.kind, event.points) for event in events]


class TestOpenAndClosed:
    """From the first point that stands out to three calm ones."""

    def test_the_constants(self) -> None:
        assert (CALM, NEIGHBOURS, STABLE) == (3, 4, 3.0)

    def test_a_spike_field_by_field(self) -> None:
        (event,) = fed([3.5, 4.0, 3.5, 2.0, 2.0, 2.0]).closed
        scale = 1.4826 * (math.log(2.01) - math.log(1.99)) / 2
        assert (event.kind, event.run, event.line) == (EventKind.SPIKE, 0, 41)
        assert (event.start, event.peak, event.end, event.value) == (400.0, 410.0, 420.0, 4.0)
        assert event.baseline == pytest.approx(LEVEL)
        assert event.z == pytest.approx(math.log(4.0 / LEVEL) / scale)
        assert (event.points, event.duration, event.recovered, event.recovery_steps) == (3, 30.0, True, 20.0)
        assert event.area == pytest.approx(11.0 - 3 * LEVEL)
        assert (event.note, event.companion) == ("", None)

    @pytest.mark.parametrize(("value", "opened"), [(2.999, 0), (3.001, 1)])
    def test_half_as_high_again_opens(self, value: float, opened: int) -> None:
        assert len(fed([value, 2.0, 2.0, 2.0]).closed) == opened

    @pytest.mark.parametrize(("value", "counted"), [(2.499, 1), (2.501, 4)])
    def test_below_half_of_that_is_calm(self, value: float, counted: int) -> None:
        tracker = fed([4.0, value, value, value])
        found = tracker.closed + tracker.finish()
        assert [event.points for event in found] == [counted]
        assert found[0].recovered == (True if counted == 1 else None)

    def test_two_calm_points_close_nothing(self) -> None:
        tracker = fed([4.0, 2.0, 2.0])
        assert tracker.closed == []
        event = tracker.open_event()
        assert event is not None
        assert (event.duration, event.end, event.recovered, event.recovery_steps) == (20.0, 400.0, None, None)

    def test_calm_points_between_high_ones_belong_to_the_event(self) -> None:
        (event,) = fed([4.0, 2.0, 2.0, 5.0, 2.0, 2.0, 2.0]).closed
        assert (event.kind, event.points, event.start, event.peak, event.end) == (
            EventKind.BLIP,
            2,
            400.0,
            430.0,
            430.0,
        )
        assert (event.duration, event.recovery_steps) == (40.0, 10.0)
        assert event.area == pytest.approx(9.0 - 2 * LEVEL)

    @pytest.mark.parametrize(
        ("values", "kind"),
        [
            ([4.0], EventKind.BLIP),
            ([4.0, 4.0], EventKind.SPIKE),
            ([4.0, 2.0, 4.0, 4.0], EventKind.SPIKE),
            ([4.0, 4.0, 2.0, 4.0], EventKind.SPIKE),
        ],
    )
    def test_two_neighbours_make_a_spike(self, values: list[float], kind: EventKind) -> None:
        (event,) = fed([*values, 2.0, 2.0, 2.0]).closed
        assert event.kind is kind

    def test_of_equal_peaks_the_first(self) -> None:
        (event,) = fed([3.5, 4.0, 4.0, 2.0, 2.0, 2.0]).closed
        assert event.peak == 410.0

    def test_the_calm_points_are_on_course_again(self) -> None:
        # They make the level 2.2: half as high again is 3.3.
        tracker = fed([4.0, 2.2, 2.2, 2.2, 3.25, 2.2, 2.2, 2.2])
        assert [event.start for event in tracker.closed] == [400.0]
        tracker = fed([4.0, 2.2, 2.2, 2.2, 3.35, 2.2, 2.2, 2.2])
        assert [event.start for event in tracker.closed] == [400.0, 440.0]
        assert tracker.closed[1].baseline == pytest.approx(2.2)

    def test_a_resume_closes_it_and_forgets(self) -> None:
        tracker = fed([4.0, 4.0])
        (event,) = tracker.rewind(350.0)
        assert (event.recovered, event.note, event.duration) == (False, "ended by a resume", 10.0)
        assert tracker.rewind(350.0) == []
        assert tracker.open_event() is None
        assert tracker.finish() == []


def with_tail() -> np.ndarray:
    """Three blocks with one value of 107 each: a lone point must rise by 1.6 times its height, to about 111.4."""
    course = alternating(100.0, 1.0, 768)
    course[100::256] = 107.0
    return course


SIX = Thresholds(z=6.0, min_rise=0.02)
NOISY = 110.5
"""Six deviations are 109.3."""


class TestDoubt:
    """Fewer than four neighbours must stand out of the tails."""

    @pytest.mark.parametrize(("count", "found"), [(1, []), (3, []), (4, [(EventKind.SPIKE, 4)])])
    def test_four_neighbours_are_no_noise(self, count: int, found: list[tuple[EventKind, int]]) -> None:
        assert kinds(fed([NOISY] * count + [100.0] * 3, course=with_tail(), thresholds=SIX).closed) == found

    @pytest.mark.parametrize(("value", "found"), [(111.3, 0), (111.6, 1)])
    def test_a_lone_point_of_enough_height(self, value: float, found: int) -> None:
        assert len(fed([value, 100.0, 100.0, 100.0], course=with_tail(), thresholds=SIX).closed) == found

    @pytest.mark.parametrize(
        ("pattern", "found"),
        [("hllhlll", []), ("hlhlhlll", [(EventKind.BLIP, 3)]), ("hhllhhlll", [(EventKind.SPIKE, 4)])],
    )
    def test_half_a_window_of_them_is_no_noise(self, pattern: str, found: list[tuple[EventKind, int]]) -> None:
        values = [NOISY if letter == "h" else 100.0 for letter in pattern]
        assert kinds(fed(values, course=with_tail(), thresholds=SIX).closed) == found

    def test_what_is_doubted_is_not_told(self) -> None:
        tracker = fed([NOISY, NOISY], course=with_tail(), thresholds=SIX)
        assert tracker.open_event() is None
        assert tracker.finish() == []
        assert fed([NOISY, NOISY], course=with_tail(), thresholds=SIX).rewind(0.0) == []


ECHOING = np.tile([1.0, 1.0, 1.0, 1.0, -1.0, -1.0, -1.0, -1.0], 96)
"""Neighbours correlate by 0.75 about the median: a point expects 0.48 of each. The level is -1, the limit 8.9 above."""


class TestEcho:
    """What a point adds to its neighbours."""

    @pytest.mark.parametrize(
        ("before", "after", "found"),
        [(-1.0, -0.8, 1), (-1.0, -0.7, 0), (-0.8, -1.0, 1), (-0.7, -1.0, 0), (-1.3, -0.7, 1)],
    )
    def test_both_neighbours_count(self, before: float, after: float, found: int) -> None:
        tracker = fed([before, 8.0, after, -1.0, -1.0], course=ECHOING, thresholds=SIX)
        assert len(tracker.closed) == found

    @pytest.mark.parametrize(("before", "found"), [(-0.8, 1), (-0.7, 0)])
    def test_the_last_point_has_no_echo(self, before: float, found: int) -> None:
        for end in ("finish", "rewind"):
            tracker = fed([before, 8.0], course=ECHOING, thresholds=SIX)
            assert tracker.open_event() is None
            assert len(tracker.finish() if end == "finish" else tracker.rewind(0.0)) == found


class TestShift:
    """A level that is up for a window, and stable."""

    def test_field_by_field(self) -> None:
        tracker = fed([4.0] * 15)
        assert tracker.closed == []
        (event,) = fed([4.0] * 16).closed
        assert (event.kind, event.points, event.start, event.end, event.duration) == (
            EventKind.SHIFT,
            16,
            400.0,
            550.0,
            150.0,
        )
        assert (event.recovered, event.recovery_steps, event.value) == (False, None, 4.0)

    def test_the_new_level_counts_from_then_on(self) -> None:
        for value, starts in ((5.9, [400.0]), (6.1, [400.0, 560.0])):
            tracker = fed([*[4.0] * 16, value, 4.0, 4.0, 4.0])
            assert [event.start for event in tracker.closed] == starts
        assert tracker.closed[1].baseline == pytest.approx(4.0)

    @pytest.mark.parametrize(("growth", "found"), [(0.00074, 1), (0.00076, 0), (-0.00074, 1), (-0.00076, 0)])
    def test_two_quarters_may_differ_by_three_deviations(self, growth: float, found: int) -> None:
        # The medians of the quarters lie four steps apart; the noise of a line is the least there is, a thousandth.
        assert len(fed(5.0 * np.exp(growth * np.arange(16))).closed) == found

    def test_it_is_asked_again_after_each_quarter(self) -> None:
        ramp = 4.0 * np.exp(0.01 * np.arange(16))
        for flat, found in ((3, []), (4, []), (7, []), (8, [(EventKind.SHIFT, 24)])):
            assert kinds(fed(np.concatenate([ramp, np.full(flat, 5.0)])).closed) == found

    def test_series_with_zero_or_less(self) -> None:
        course = alternating(0.0, 1.0, 40)
        assert kinds(fed([40.0] * 16, course=course).closed) == [(EventKind.SHIFT, 16)]
        assert kinds(fed([30.0 + n for n in range(16)], course=course).closed) == []
