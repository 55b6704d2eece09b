"""One series: what counts as a point, which trackers see it, and which events are told once."""

import numpy as np
import pytest
from detectors.builders import NAN, alternating, an_event

from mhcdiag.detectors.interface import DetectionSettings, adjusted
from mhcdiag.detectors.published import MEGATRON_SPIKY
from mhcdiag.detectors.running_minimum import SMOOTHED
from mhcdiag.detectors.series import SeriesWatcher, settled
from mhcdiag.results.spikes import EventKind


def feed(watcher: SeriesWatcher, steps: list[float] | np.ndarray, values: list[float] | np.ndarray) -> None:
    value, step = np.array(values, dtype=np.float64), np.array(steps, dtype=np.float64)
    watcher.feed(step=step, line=np.arange(1, len(step) + 1), value=value, bad=~np.isfinite(value))


def counted(values: np.ndarray, *, name: str = "loss", settings: DetectionSettings | None = None) -> SeriesWatcher:
    watcher = SeriesWatcher(name, settings or DetectionSettings())
    feed(watcher, np.arange(len(values)), values)
    return watcher


class TestPoints:
    """What is counted."""

    def test_finite_values_and_nan(self) -> None:
        watcher = counted(np.array([2.5, NAN, NAN, 2.0, 1.5]))
        assert (watcher.points, watcher.finite) == (5, 3)
        assert watcher.curve.curve().step == (0.0, 3.0, 4.0)

    def test_a_step_twice_in_a_row_is_one_point(self) -> None:
        watcher = SeriesWatcher("loss", DetectionSettings())
        feed(watcher, [1, 1, 2, 2, 3], [9, 8, 7, 6, 5])
        feed(watcher, [3, 4, 2], [4, 3, 2])
        feed(watcher, [2], [1])
        feed(watcher, [], [])
        assert watcher.points == 5
        assert watcher.curve.curve().low == (9.0, 7.0, 5.0, 3.0, 2.0)

    @pytest.mark.parametrize("cut", range(9))
    def test_a_step_is_not_finite_if_any_of_its_records_is_not(self, cut: int) -> None:
        steps, values = [1, 1, 1, 2, 2, 2, 2, 3], [2.5, 2.5, NAN, 2.5, NAN, 2.0, NAN, 1.5]
        watcher = SeriesWatcher("loss", DetectionSettings())
        feed(watcher, steps[:cut], values[:cut])
        feed(watcher, steps[cut:], values[cut:])
        assert (watcher.points, watcher.finite) == (5, 3)
        assert [(event.start, event.points) for event in watcher.events()] == [(1.0, 1), (2.0, 1)]
        assert watcher.curve.curve().low == (2.5, 2.5, 1.5)

    @pytest.mark.parametrize("again", ["new_run", "rewind"])
    def test_a_run_that_goes_back_may_begin_with_the_last_step(self, again: str) -> None:
        watcher = SeriesWatcher("loss", DetectionSettings())
        feed(watcher, [1, 2], [9, 8])
        watcher.new_run() if again == "new_run" else watcher.rewind(2.0)
        feed(watcher, [2, 3], [7, 6])
        assert watcher.points == 4

    @pytest.mark.parametrize(("counts", "judged"), [((64,), False), ((65,), True), ((64, 64), False), ((3, 65), True)])
    def test_a_run_is_judged_that_is_longer_than_the_warm_up(self, counts: tuple[int, ...], judged: bool) -> None:
        watcher = SeriesWatcher("loss", DetectionSettings())
        for index, count in enumerate(counts):
            if index:
                watcher.new_run()
            feed(watcher, np.arange(count), np.full(count, 2.5))
        assert watcher.judged == judged

    def test_nan_do_not_count_towards_the_warm_up(self) -> None:
        assert not counted(np.array([*np.full(64, 2.5), NAN])).judged

    def test_once_judged_always_judged(self) -> None:
        watcher = counted(np.full(65, 2.5))
        watcher.new_run()
        feed(watcher, [0], [2.5])
        assert watcher.judged

    def test_the_ratio_applies_to_positive_series(self) -> None:
        watcher = counted(np.array([2.5, 0.0]))
        assert not watcher.ratio_applies
        watcher.new_run()
        feed(watcher, [0], [2.5])
        assert not watcher.ratio_applies
        assert counted(np.array([2.5, 0.0]), name="grad_norm").ratio_applies


def up(count: int = 400, *, at: int = 300, length: int = 5, size: float = 4.0) -> np.ndarray:
    values = alternating(2.5, 0.01, count)
    values[at : at + length] += size
    return values


class TestEvents:
    """Which trackers see the series, and what its events are called."""

    def test_a_spike_of_the_loss_and_of_the_norm(self) -> None:
        assert [(event.kind, event.start) for event in counted(up()).events()] == [(EventKind.SPIKE, 300.0)]
        assert [(event.kind, event.start) for event in counted(up(), name="grad_norm").events()] == [
            (EventKind.GRADSPIKE, 300.0)
        ]

    def test_nan_of_the_norm_stay_nan(self) -> None:
        assert [event.kind for event in counted(np.array([1.0, NAN]), name="grad_norm").events()] == [EventKind.NAN]

    def test_the_norm_has_thresholds_of_its_own_and_never_diverges(self) -> None:
        rising = alternating(2.5, 0.01, 900)
        rising[300:] += np.linspace(0, 1.0, 600)
        assert [event.kind for event in counted(rising).events()] == [EventKind.DIVERGENCE]
        assert counted(rising, name="grad_norm").events() == ()
        assert counted(up(size=0.5)).events() != ()
        assert counted(up(size=0.5), name="grad_norm").events() == ()

    def test_a_published_rule_in_place_of_ours(self) -> None:
        for size, kinds in ((4.0, []), (40.0, [EventKind.SPIKE])):
            watcher = SeriesWatcher("loss", DetectionSettings(), MEGATRON_SPIKY)
            feed(watcher, np.arange(400), up(size=size))
            assert [event.kind for event in watcher.events()] == kinds

    def test_the_settings_are_those_given(self) -> None:
        assert counted(up(size=0.5), settings=adjusted(min_rise=0.3)).events() == ()

    def test_events_carry_their_run_and_a_new_run_ends_what_is_open(self) -> None:
        watcher = counted(up(303))
        assert [event.kind for event in watcher.open_events()] == [EventKind.SPIKE]
        watcher.new_run()
        assert (watcher.open_events(), len(watcher.closed)) == ([], 1)
        feed(watcher, [0, 1, 2], [2.5, NAN, 2.5])
        watcher.new_run()
        feed(watcher, [0, 1], [2.5, NAN])
        watcher.finish()
        assert [(event.run, event.kind, event.start) for event in watcher.events()] == [
            (0, EventKind.SPIKE, 300.0),
            (1, EventKind.NAN, 1.0),
            (2, EventKind.NAN, 1.0),
        ]

    def test_a_resume_ends_what_is_open(self) -> None:
        watcher = SeriesWatcher("loss", DetectionSettings())
        feed(watcher, np.arange(304), np.array([*up(303), NAN]))
        watcher.rewind(200.0)
        assert [(event.kind, event.note) for event in watcher.events()] == [
            (EventKind.SPIKE, "ended by a resume"),
            (EventKind.NAN, "ended by a resume"),
        ]

    def test_a_resume_ends_a_divergence(self) -> None:
        rising = alternating(2.5, 0.01, 900)
        rising[300:] += np.linspace(0, 1.0, 600)
        watcher = counted(rising)
        watcher.rewind(200.0)
        assert [event.note for event in watcher.events()] == [f"{SMOOTHED}; ended by a resume"]


LONG = an_event(kind=EventKind.DIVERGENCE, start=200.0, end=900.0, recovered=None, note=SMOOTHED)
BACK = an_event(kind=EventKind.SPIKE, start=200.0, end=900.0, recovered=True, note=SMOOTHED)


class TestSettled:
    """One stretch is told once."""

    @pytest.mark.parametrize("kind", [EventKind.BLIP, EventKind.SPIKE, EventKind.SHIFT])
    @pytest.mark.parametrize(
        ("start", "end", "kept"), [(100, 199, 1), (100, 200, 0), (500, 501, 0), (900, 950, 0), (901, 950, 1)]
    )
    def test_a_long_rise_that_came_back_gives_way(self, kind: EventKind, start: float, end: float, kept: int) -> None:
        sharp = an_event(kind=kind, start=float(start), end=float(end))
        assert [event for event in settled([BACK, sharp]) if event is BACK] == [BACK] * kept
        assert sharp in settled([BACK, sharp])

    def test_it_gives_way_to_events_of_its_run_and_not_to_nan(self) -> None:
        assert BACK in settled([BACK, an_event(start=500.0, end=501.0, run=1)])
        assert BACK in settled([BACK, an_event(kind=EventKind.NAN, start=500.0, end=501.0)])

    @pytest.mark.parametrize(
        ("changes", "kept"),
        [
            ({"kind": EventKind.SHIFT, "recovered": False}, False),
            ({"kind": EventKind.SPIKE, "recovered": None}, False),
            ({"kind": EventKind.SPIKE, "recovered": True}, True),
            ({"kind": EventKind.SPIKE, "recovered": False}, True),
            ({"kind": EventKind.NAN, "recovered": None}, True),
            ({"kind": EventKind.SHIFT, "recovered": False, "run": 1}, True),
            ({"kind": EventKind.SHIFT, "recovered": False, "end": 199.0}, True),
            ({"kind": EventKind.SHIFT, "recovered": False, "end": 200.0}, False),
        ],
    )
    def test_an_open_divergence_takes_in_what_it_consists_of(self, changes: dict[str, object], kept: bool) -> None:
        event = an_event(**{"start": 150.0, "end": 400.0, **changes})
        assert (event in settled([event, LONG])) == kept
        assert LONG in settled([event, LONG])

    def test_a_divergence_that_a_resume_ended_takes_nothing_in(self) -> None:
        ended = an_event(kind=EventKind.DIVERGENCE, start=200.0, end=900.0, recovered=False, note=f"{SMOOTHED}; ended")
        shift = an_event(kind=EventKind.SHIFT, start=950.0, end=990.0, recovered=False)
        assert settled([ended, shift]) == (ended, shift)

    def test_order_of_runs_starts_and_lines(self) -> None:
        events = [
            an_event(run=run, start=start, line=line)
            for run, start, line in [(1, 5.0, 9), (0, 7.0, 8), (0, 5.0, 7), (0, 5.0, 6)]
        ]
        assert [(one.run, one.start, one.line) for one in settled(events)] == [
            (0, 5, 6),
            (0, 5, 7),
            (0, 7, 8),
            (1, 5, 9),
        ]
