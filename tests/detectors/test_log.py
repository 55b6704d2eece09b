"""One log: its series, its loss scaler, its messages."""

import numpy as np
import pytest
from detectors.builders import INF, NAN, alternating

from mhcdiag.detectors.interface import DetectionSettings, RecordBlock
from mhcdiag.detectors.log import LogWatcher, Message
from mhcdiag.detectors.nonfinite import FAIRSEQ_MINIMUM, OVERFLOWS
from mhcdiag.results.spikes import EventKind


def watcher(*series: str, **options: float) -> LogWatcher:
    return LogWatcher(series or ("loss", "grad_norm"), DetectionSettings(), **options)


def records(first: int = 0, **columns: list[float] | np.ndarray) -> RecordBlock:
    """Records at steps first, first + 1, ...; None-like gaps are NaN without a mark, infinities are marked."""
    arrays = {name: np.array(column, dtype=np.float64) for name, column in columns.items()}
    step = np.arange(first, first + len(next(iter(arrays.values()))), dtype=np.float64)
    bad = {name: np.isinf(column) for name, column in arrays.items() if np.isinf(column).any()}
    return RecordBlock(step=step, line=np.arange(1, len(step) + 1), columns=arrays, bad=bad)


def message(kind: str, *, step: float = 5.0, line: int = 6, text: str = "the message", scale: float = NAN) -> Message:
    return Message(line=line, step=step, kind=kind, loss_scale=scale, text=text)


class TestSeries:
    """Which records belong to a series."""

    def test_values_that_were_not_recorded_are_no_points(self) -> None:
        watched = watcher()
        watched.feed(records(loss=[2.5, NAN, INF, 2.0], other=[1.0, 2.0, 3.0, 4.0]))
        assert (watched.series["loss"].points, watched.series["loss"].finite) == (3, 2)
        assert watched.series["grad_norm"].points == 0
        (event,) = watched.events()["loss"]
        assert (event.kind, event.start, event.line) == (EventKind.NAN, 2.0, 3)

    def test_records_without_the_series_change_nothing(self) -> None:
        watched = watcher()
        watched.feed(records(loss=[NAN, NAN]))
        assert watched.series["loss"].points == 0
        assert watched.events() == {"loss": (), "grad_norm": ()}

    def test_runs_and_resumes_reach_every_series(self) -> None:
        watched = watcher()
        watched.feed(records(loss=[2.5, INF], grad_norm=[1.0, INF]))
        watched.rewind(1.0)
        watched.feed(records(first=1, loss=[INF], grad_norm=[INF]))
        watched.new_run()
        watched.feed(records(loss=[INF], grad_norm=[INF]))
        watched.finish()
        for name in ("loss", "grad_norm"):
            assert [(event.run, event.start, event.note) for event in watched.events()[name]] == [
                (0, 1.0, ""),
                (0, 1.0, "ended by a resume"),
                (1, 0.0, ""),
            ]
            assert len(watched.series[name].closed) == 3

    def test_the_norm_that_moved_stands_beside_the_loss(self) -> None:
        loss, norm = alternating(2.5, 0.01, 300), alternating(1.0, 0.01, 300)
        loss[280:285] += 4.0
        norm[279:285] += 9.0
        watched = watcher()
        watched.feed(records(loss=loss, grad_norm=norm))
        (event,) = watched.events()["loss"]
        assert event.companion is not None
        assert (event.companion.start, event.companion.first) == (279.0, "grad_norm")
        alone = watcher("loss")
        alone.feed(records(loss=loss))
        assert alone.events()["loss"][0].companion is None


class TestLossScale:
    """The scaler, and norms that are not finite because it searches."""

    def test_events_halvings_and_records(self) -> None:
        watched = watcher()
        watched.feed(records(loss=[2.5] * 5, loss_scale=[4.0, NAN, 2.0, 1.0, 1.0]))
        assert (watched.scales, watched.scaler_halvings()) == (4, 2)
        (event,) = watched.events()["loss_scale"]
        assert (event.kind, event.run, event.start, event.line) == (EventKind.LOSS_SCALE, 0, 3.0, 4)
        watched.feed(records(first=5, loss=[2.5], loss_scale=[2.0]))
        (event,) = watched.scaler_events()
        assert event.recovered is True

    def test_each_run_has_its_scaler(self) -> None:
        watched = watcher()
        for _ in range(2):
            watched.feed(records(loss=[2.5] * 3, loss_scale=[4.0, 2.0, 1.0]))
            watched.new_run()
        watched.feed(records(loss=[2.5] * 3, loss_scale=[0.5, 4.0, 1.0]))
        assert watched.scaler_halvings() == 5
        assert [(event.run, event.start) for event in watched.scaler_events()] == [(0, 2.0), (1, 2.0), (2, 2.0)]
        watched.finish()
        assert watched.scaler_halvings() == 5
        assert [event.run for event in watched.scaler_events()] == [0, 1, 2]

    @pytest.mark.parametrize(("least", "found"), [(1.0, 1), (FAIRSEQ_MINIMUM, 0)])
    def test_the_scale_at_which_it_gives_up(self, least: float, found: int) -> None:
        watched = watcher(least_scale=least)
        watched.feed(records(loss=[2.5] * 2, loss_scale=[2.0, 0.5]))
        watched.new_run()
        watched.feed(records(loss=[2.5] * 2, loss_scale=[2.0, 0.5]))
        assert len(watched.scaler_events()) == 2 * found

    def test_no_scale_no_event(self) -> None:
        watched = watcher()
        watched.feed(records(loss=[2.5], loss_scale=[NAN]))
        assert "loss_scale" not in watched.events()
        watched.feed(records(first=1, grad_norm=[INF]))
        assert (watched.skipped_norms(), len(watched.events()["grad_norm"])) == (0, 1)

    @pytest.mark.parametrize(("count", "skipped"), [(3, 3), (4, 0)])
    @pytest.mark.parametrize(
        ("others", "searching"),
        [
            ({"loss_scale": [8.0, 4.0]}, True),
            ({"loss_scale": [8.0, 8.0, 8.0, 4.0]}, True),
            ({"loss_scale": [4.0, 8.0]}, False),
            ({"loss_scale": [4.0]}, False),  # static, or the constant 1.0 of bf16: it never answers
            ({"loss_scale": [1.0]}, False),
            ({"skipped": [0.0, 1.0]}, True),
            ({"skipped": [24.0, 25.0]}, True),  # of the whole run, as DeepSpeed counts
            ({"skipped": [0.0]}, False),
            ({"skipped": [0.0, 1.0], "loss_scale": [1.0]}, False),
            ({}, False),
        ],
    )
    def test_a_search_is_answered_and_shorter_than_four_norms(
        self, count: int, skipped: int, others: dict[str, list[float]], searching: bool
    ) -> None:
        assert OVERFLOWS == 4
        watched = watcher()
        norms = [1.0, *[INF] * count, 1.0, 1.0]
        columns = {name: [*values, *[values[-1]] * (len(norms) - len(values))] for name, values in others.items()}
        watched.feed(records(grad_norm=norms, **columns))
        assert watched.skipped_norms() == (skipped if searching else 0)
        assert len(watched.events()["grad_norm"]) == (0 if searching and skipped else 1)

    @pytest.mark.parametrize(("step", "excused"), [(NAN, True), (0.0, True), (2.0, True), (5.0, True), (6.0, False)])
    def test_a_message_answers_within_two_intervals(self, step: float, excused: bool) -> None:
        watched = watcher()
        watched.message(message("overflow", step=step))
        watched.feed(records(grad_norm=[1.0, 1.0, INF, INF, 1.0, 1.0]))
        assert (watched.events()["grad_norm"] == ()) == excused

    def test_two_intervals_are_those_of_the_log(self) -> None:
        watched = watcher()
        block = records(grad_norm=[1.0, 1.0, INF, 1.0])
        block = RecordBlock(step=100 * block.step, line=block.line, columns=block.columns, bad=block.bad)
        watched.message(message("overflow", step=20.0))
        watched.feed(block)
        assert watched.skipped_norms() == 1

    def test_the_newest_norm_waits_for_its_answer_while_the_log_grows(self) -> None:
        watched = watcher()
        watched.feed(records(grad_norm=[1.0, INF, 1.0, 1.0, 1.0, 1.0], loss_scale=[8.0, 4.0, 4.0, 4.0, 4.0, 4.0]))
        watched.feed(records(first=6, grad_norm=[INF], loss_scale=[4.0]))
        assert watched.events()["grad_norm"] == ()
        watched.finish()
        assert [event.start for event in watched.events()["grad_norm"]] == [6.0]

    def test_a_scale_that_only_messages_name(self) -> None:
        watched = watcher()
        for at, scale in enumerate((4.0, 2.0, 1.0)):
            watched.message(message("overflow", step=float(at), line=at + 1, scale=scale))
        assert (watched.overflows, watched.scaler_halvings(), watched.scales) == (3, 2, 0)
        (event,) = watched.events()["loss_scale"]
        assert (event.start, event.line, event.value) == (2.0, 3, 1.0)

    def test_fairseq_goes_below_one_whatever_format_reads_it(self) -> None:
        watched = watcher()
        text = "NOTE: overflow detected, setting loss scale to: {}"
        for at, scale in enumerate((2.0, 1.0, 0.5, 2e-4)):
            watched.message(message("overflow", step=float(at), scale=scale, text=text.format(scale)))
        assert "loss_scale" not in watched.events()
        watched.message(message("overflow", scale=1e-4, text=text.format(1e-4)))
        assert len(watched.events()["loss_scale"]) == 1

    def test_norms_that_rise_are_no_search(self) -> None:
        norm = alternating(1.0, 0.01, 300)
        norm[280] = 9.0
        watched = watcher()
        watched.feed(records(grad_norm=norm, loss_scale=[4.0] * 300))
        assert [event.kind for event in watched.events()["grad_norm"]] == [EventKind.GRADSPIKE]
        assert watched.skipped_norms() == 0

    def test_without_a_norm_nothing_was_skipped(self) -> None:
        watched = watcher("loss")
        watched.message(message("overflow"))
        assert (watched.skipped_norms(), watched.overflows) == (0, 1)
        assert watched.events() == {"loss": ()}


class TestMessages:
    """What the code itself reports."""

    def test_the_minimum_is_an_event_of_the_scaler(self) -> None:
        watched = watcher()
        watched.new_run()
        watched.message(message("minimum", scale=1.0))
        (event,) = watched.events()["loss_scale"]
        assert (event.kind, event.run, event.line, event.start, event.value) == (EventKind.LOSS_SCALE, 1, 6, 5.0, 1.0)
        assert event.note == "the message"
        assert watched.nan_messages() == ()

    def test_scaler_events_stand_in_the_order_of_lines(self) -> None:
        watched = watcher()
        watched.feed(records(loss=[2.5] * 2, loss_scale=[2.0, 1.0]))
        watched.message(message("minimum", line=1))
        assert [event.line for event in watched.scaler_events()] == [1, 2]

    def test_a_nan_is_an_event_of_the_loss(self) -> None:
        watched = watcher()
        watched.feed(records(loss=[2.5] * 5))
        watched.message(message("nan"))
        (event,) = watched.events()["loss"]
        assert (event.kind, event.line, event.start, event.note) == (EventKind.NAN, 6, 5.0, "the message")
        assert repr(event.value) == "nan"
        assert watched.nan_messages() == (event,)
        assert watched.events()["grad_norm"] == ()

    @pytest.mark.parametrize(("step", "told"), [(1.9, 1), (2.0, 0), (3.5, 0), (5.0, 0), (5.1, 1)])
    def test_a_recorded_nan_explains_messages_one_step_around_it(self, step: float, told: int) -> None:
        watched = watcher()
        watched.feed(records(loss=[2.5, 2.5, 2.5, INF, INF, 2.5]))
        watched.message(message("nan", step=step))
        assert len(watched.events()["loss"]) == 1 + told

    def test_nan_of_another_run_explain_nothing(self) -> None:
        watched = watcher()
        watched.feed(records(loss=[2.5, INF]))
        watched.new_run()
        watched.message(message("nan", step=1.0))
        assert [event.run for event in watched.events()["loss"]] == [0, 1]

    def test_only_nan_explain_them(self) -> None:
        loss = alternating(2.5, 0.01, 300)
        loss[280:285] += 4.0
        watched = watcher()
        watched.feed(records(loss=loss))
        watched.message(message("nan", step=282.0, line=9))
        assert [event.kind for event in watched.events()["loss"]] == [EventKind.NAN, EventKind.SPIKE]

    @pytest.mark.parametrize("scaled", [False, True])
    def test_a_skipped_step_is_nan_unless_a_scaler_searches(self, scaled: bool) -> None:
        watched = watcher()
        watched.feed(records(loss=[2.5] * 5, **({"loss_scale": [4.0, 2.0, 2.0, 2.0, 2.0]} if scaled else {})))
        watched.message(message("skipped", text="The grad norm is nan. Skipping updating the model."))
        assert [event.kind for event in watched.events()["loss"]] == ([] if scaled else [EventKind.NAN])
        assert len(watched.nan_messages()) == (not scaled)

    def test_the_same_words_again_are_told_once(self) -> None:
        watched = watcher()
        for text in ("a", "a", "b", "a"):
            watched.message(message("nan", text=text))
        assert [event.note for event in watched.events()["loss"]] == ["a", "b", "a"]
        assert len(watched.nan_messages()) == 4


class TestOthers:
    """Losses and norms beside the main ones, and tables that write NaN for "not recorded"."""

    @staticmethod
    def fed(
        watched: LogWatcher, values: list[float], *, name: str = "aux_loss", evaluation: bool = False
    ) -> LogWatcher:
        value = np.array(values)
        step = np.arange(len(value), dtype=np.float64)
        watched.feed(
            RecordBlock(
                step=step,
                line=np.arange(1, len(step) + 1),
                columns={name: value, "loss": np.full(len(step), 2.5)},
                bad={name: ~np.isfinite(value)},
                others={name: evaluation},
            )
        )
        return watched

    def test_its_events_stand_under_its_name(self) -> None:
        watched = self.fed(watcher(), [1.0] * 4 + [NAN, NAN, NAN, 1.0])
        found = watched.events()
        assert [(event.kind, event.start, event.points) for event in found["aux_loss"]] == [(EventKind.NAN, 4.0, 3)]
        assert found["loss"] == ()

    def test_a_norm_is_excused_as_the_main_one(self) -> None:
        for name, count in (("critic/grad_norm", 0), ("critic/vf_loss", 1)):
            watched = watcher()
            watched.message(message("overflow", step=1.0))
            assert len(self.fed(watched, [1.0, NAN, 1.0, 1.0], name=name).events()[name]) == count

    def test_runs_and_resumes_reach_them(self) -> None:
        watched = self.fed(watcher(), [1.0, 1.0, 1.0, NAN, NAN, NAN])
        watched.rewind(1.0)
        self.fed(watched, [1.0])
        watched.new_run()
        self.fed(watched, [1.0, INF])
        watched.finish()
        assert [(one.run, one.kind, one.note) for one in watched.events()["aux_loss"]] == [
            (0, EventKind.NAN, "ended by a resume"),
            (1, EventKind.NAN, ""),
        ]

    def test_a_series_that_begins_in_a_later_run(self) -> None:
        watched = watcher()
        watched.feed(records(loss=[2.5]))
        watched.new_run()
        assert [one.run for one in self.fed(watched, [1.0, NAN, NAN, NAN]).events()["aux_loss"]] == [1]

    def test_notes_on_what_was_not_recorded(self) -> None:
        watched = self.fed(watcher(), [NAN] * 5, name="val_loss", evaluation=True)
        assert (watched.unrecorded(), watched.blanks(), watched.events()["val_loss"]) == (("val_loss",), (), ())
        watched = self.fed(watcher(), [1.0, NAN, NAN, NAN, 1.0])
        assert (watched.unrecorded(), watched.blanks()) == ((), ("aux_loss",))

    BLANK = (1.0, NAN, NAN, NAN, 1.0, NAN, NAN, NAN, 1.0)

    @pytest.mark.parametrize(("tabular", "after", "events"), [(True, 12, 0), (True, 13, 1), (False, 0, 2)])
    def test_the_main_loss_of_a_table_may_be_blank_for_three_intervals(
        self, tabular: bool, after: int, events: int
    ) -> None:
        watched = watcher("loss", tabular=tabular)
        value = np.array([*self.BLANK, *[NAN] * after])
        step = np.arange(len(value), dtype=np.float64)
        block = RecordBlock(
            step=step, line=np.arange(len(value)), columns={"loss": value}, bad={"loss": np.isnan(value)}
        )
        watched.feed(block)
        assert len(watched.events()["loss"]) == events
        assert watched.blanks() == (("loss",) if tabular else ())
        watched.new_run()
        watched.feed(records(loss=[INF, 1.0, 1.0]))
        assert [event.run for event in watched.events()["loss"]][events:] == [1]
