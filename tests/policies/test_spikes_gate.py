"""The gate fails closed, and never calls an unread log clean."""

import json
import math
from pathlib import Path

import pytest

from mhcdiag.cli.options import parse_kinds
from mhcdiag.errors import SettingError
from mhcdiag.policies.verdicts import DEFAULT_FAIL_ON, SpikeGate, judge, mostly_unreadable, tripping_event, trips
from mhcdiag.results.spikes import BinnedCurve, Event, EventKind, LogResult, SeriesResult, SpikeScore
from mhcdiag.results.verdict import Verdict
from mhcdiag.usecases.options import parse_steps
from mhcdiag.usecases.spikes import spikes


def verdict(folder: Path, losses: list[object], gate: SpikeGate | None = None) -> Verdict:
    path = folder / "log.jsonl"
    path.write_text("".join(json.dumps({"step": i, "loss": one}) + "\n" for i, one in enumerate(losses)))
    return judge(spikes(str(path), log_format="jsonl"), gate or SpikeGate()).verdict


def test_enough_clean_points_pass(tmp_path: Path) -> None:
    assert verdict(tmp_path, [2.0] * 13) is Verdict.PASS


def test_nine_points_are_not_judged(tmp_path: Path) -> None:
    assert verdict(tmp_path, [2.0] * 9) is Verdict.UNJUDGED


def test_nan_fails_even_a_short_log(tmp_path: Path) -> None:
    assert verdict(tmp_path, [2.0, 2.0, float("nan"), 2.0]) is Verdict.FAIL


def test_unreadable_losses_are_not_clean(tmp_path: Path) -> None:
    assert verdict(tmp_path, [2.0] * 31 + ["?"] * 13) is Verdict.UNJUDGED


def test_a_spike_fails_only_where_it_is_asked_for(tmp_path: Path) -> None:
    losses: list[object] = [2.0 + 0.001 * (i % 7) for i in range(211)]
    losses[151:157] = [4.0] * 6
    assert verdict(tmp_path, losses) is Verdict.PASS
    assert verdict(tmp_path, losses, SpikeGate(fail_on=frozenset({EventKind.SPIKE}))) is Verdict.FAIL
    assert verdict(tmp_path, losses, SpikeGate(max_spikes=0)) is Verdict.FAIL
    assert verdict(tmp_path, losses, SpikeGate(max_spikes=1)) is Verdict.PASS


def _climb(back: bool) -> list[object]:
    """Losses around 2 that climb to 3 after 400 steps, and come back or not."""
    climb = [min(i - 400, 300) / 300 if i > 400 else 0.0 for i in range(901)]
    if back:
        climb[700:] = [0.0] * 201
    return [2.0 + 0.01 * ((7 * i) % 11 - 5) / 5 + up for i, up in enumerate(climb)]


@pytest.mark.parametrize(("back", "expected"), [(False, Verdict.FAIL), (True, Verdict.PASS)])
def test_a_divergence_fails_while_it_lasts(tmp_path: Path, back: bool, expected: Verdict) -> None:
    assert verdict(tmp_path, _climb(back)) is expected
    assert verdict(tmp_path, _climb(back), SpikeGate(fail_on=frozenset({EventKind.NAN}))) is Verdict.PASS


def test_the_event_that_trips_is_the_first_that_counts(tmp_path: Path) -> None:
    losses: list[object] = [2.0 + 0.001 * (i % 7) for i in range(401)]
    losses[151:157] = [4.0] * 6
    losses[251:257] = [5.0] * 6
    losses[301] = float("nan")
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps({"step": i, "loss": one}) + "\n" for i, one in enumerate(losses)))
    result = spikes(str(path), log_format="jsonl")
    starts = {
        301: SpikeGate(),
        151: SpikeGate(max_spikes=0),
        251: SpikeGate(max_spikes=1),
    }
    for start, gate in starts.items():
        found = tripping_event(result, gate)
        assert found is not None
        assert (found[0], found[1].start) == ("loss", start)
    assert tripping_event(result, SpikeGate(fail_on=frozenset(), max_spike_score=0.0)) is None


def test_words_of_the_command_line() -> None:
    assert parse_kinds("nan, spike") == {EventKind.NAN, EventKind.SPIKE}
    assert parse_kinds("never") == frozenset()
    assert parse_steps("2000:") == (2000.0, float("inf"))
    with pytest.raises(SettingError, match="'foo' is none of"):
        parse_kinds("foo")
    with pytest.raises(SettingError, match="FIRST:LAST"):
        parse_steps("12")


# Records made by hand, for exact limits


def an_event(kind: EventKind, *, line: int = 7, start: float = 3.0, recovered: bool | None = None) -> Event:
    return Event(
        kind=kind, run=0, line=line, start=start, peak=start, end=start, value=2.0, baseline=1.0, z=9.0, points=1,
        duration=0.0, area=0.0, recovered=recovered, recovery_steps=None,
    )  # fmt: skip


def a_series(*events: Event, points: int = 100, score: float = 0.0) -> SeriesResult:
    return SeriesResult(
        source_name="loss",
        points=points,
        spike_score=SpikeScore(olmo2=0.0, olmo_core=score),
        events=events,
        curve=BinnedCurve(run=(), step=(), low=(), high=()),
    )


def a_log(
    series: dict[str, SeriesResult] | None = None,
    *,
    loss_lines: int = 100,
    unreadable_lines: int = 0,
    ignored_lines: int = 0,
    doubt: str = "",
) -> LogResult:
    return LogResult(
        path="run.log", format="jsonl", rule="mhcdiag", lines=100, loss_lines=loss_lines,
        unreadable_lines=unreadable_lines, runs=(), series={"loss": a_series()} if series is None else series, notes=(),
        ignored_lines=ignored_lines, doubt=doubt,
    )  # fmt: skip


def test_the_limits_that_apply_without_a_policy() -> None:
    assert frozenset({EventKind.NAN, EventKind.DIVERGENCE, EventKind.LOSS_SCALE}) == DEFAULT_FAIL_ON
    assert SpikeGate() == SpikeGate(fail_on=DEFAULT_FAIL_ON, max_spikes=None, max_spike_score=None)


@pytest.mark.parametrize(("points", "expected"), [(9, Verdict.UNJUDGED), (10, Verdict.PASS), (11, Verdict.PASS)])
def test_ten_points_are_enough(points: int, expected: Verdict) -> None:
    judged = judge(a_log({"loss": a_series(points=points)}), SpikeGate())
    assert judged.verdict is expected
    few = f"{points} loss points are too few to judge: at least 10 are needed"
    assert judged.reason == ("" if expected is Verdict.PASS else few)


def test_a_log_without_series_has_no_points() -> None:
    judged = judge(a_log({}), SpikeGate(max_spikes=0, max_spike_score=0.0))
    assert judged.verdict is Verdict.UNJUDGED
    assert judged.reason.startswith("0 loss points")


def test_points_are_those_of_the_loss_where_there_is_one() -> None:
    few, many = a_series(points=9), a_series(points=10)
    assert judge(a_log({"grad_norm": many, "loss": few}), SpikeGate()).verdict is Verdict.UNJUDGED
    assert judge(a_log({"grad_norm": few, "loss": many}), SpikeGate()).verdict is Verdict.PASS
    assert judge(a_log({"grad_norm": many, "other": few}), SpikeGate()).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("unreadable", "expected"),
    [(19, Verdict.PASS), (20, Verdict.PASS), (21, Verdict.UNJUDGED), (100, Verdict.UNJUDGED)],
)
def test_a_fifth_of_the_lines_may_be_unreadable(unreadable: int, expected: Verdict) -> None:
    result = a_log(unreadable_lines=unreadable)
    judged = judge(result, SpikeGate())
    assert judged.verdict is expected
    assert mostly_unreadable(result) is (expected is Verdict.UNJUDGED)
    text = f"{unreadable} % of the lines with a loss give no number: is the format jsonl right?"
    assert judged.reason == ("" if expected is Verdict.PASS else text)


@pytest.mark.parametrize(("unreadable", "ignored", "expected"), [(10, 10, Verdict.PASS), (10, 11, Verdict.UNJUDGED)])
def test_lines_that_were_left_out_count_as_much(unreadable: int, ignored: int, expected: Verdict) -> None:
    judged = judge(a_log(unreadable_lines=unreadable, ignored_lines=ignored), SpikeGate())
    assert judged.verdict is expected
    text = "21 % of the lines with a loss give no point: is the format jsonl right?"
    assert judged.reason == ("" if expected is Verdict.PASS else text)


def test_what_speaks_against_the_reading_leaves_a_log_unjudged() -> None:
    judged = judge(a_log(doubt="the judged loss ends"), SpikeGate())
    assert judged.verdict is Verdict.UNJUDGED
    assert judged.reason == "the judged loss ends: name what to judge with --loss-key and --step-key"


@pytest.mark.parametrize(
    ("score", "limit", "expected"),
    [
        (0.0, 0.0, Verdict.PASS),
        (0.25, 0.25, Verdict.PASS),
        (math.nextafter(0.25, 0), 0.25, Verdict.PASS),
        (math.nextafter(0.25, 1), 0.25, Verdict.FAIL),
        (1.0, 1.0, Verdict.PASS),
        (math.inf, 1.0, Verdict.FAIL),
        (math.nan, 1.0, Verdict.UNJUDGED),
        (math.nan, None, Verdict.PASS),
        (1.0, None, Verdict.PASS),
    ],
)
def test_the_spike_score_passes_up_to_its_limit_and_nan_never(
    score: float, limit: float | None, expected: Verdict
) -> None:
    judged = judge(a_log({"loss": a_series(score=score)}), SpikeGate(max_spike_score=limit))
    assert judged.verdict is expected
    found = [(one.value, one.limit) for one in judged.limits if one.metric == "series.loss.spike_score.olmo_core"]
    assert found == ([] if limit is None or math.isnan(score) else [(score, limit)])
    if expected is Verdict.UNJUDGED:
        assert judged.reason == "no run is long enough for a spike score (128 points)"


@pytest.mark.parametrize(
    ("spikes_found", "limit", "expected"),
    [(0, 0, Verdict.PASS), (1, 0, Verdict.FAIL), (2, 2, Verdict.PASS), (3, 2, Verdict.FAIL), (3, None, Verdict.PASS)],
)
def test_as_many_spikes_as_the_limit_pass(spikes_found: int, limit: int | None, expected: Verdict) -> None:
    events = [an_event(EventKind.SPIKE, line=10 * i) for i in range(spikes_found)]
    gate = SpikeGate(max_spikes=limit)
    result = a_log(
        {"loss": a_series(*events, an_event(EventKind.BLIP)), "grad_norm": a_series(an_event(EventKind.SPIKE))}
    )
    judged = judge(result, gate)
    assert judged.verdict is expected
    found = [(one.value, one.limit) for one in judged.limits if one.metric == "series.loss.events.spike"]
    assert found == ([] if limit is None else [(spikes_found, limit)])
    tripping = tripping_event(result, gate)
    # The first event beyond the limit, counted from 0.
    assert (tripping is None) is (expected is Verdict.PASS)
    assert tripping is None or tripping == ("loss", events[int(limit or 0)])


@pytest.mark.parametrize("kind", list(EventKind))
@pytest.mark.parametrize("recovered", [None, True, False])
@pytest.mark.parametrize("asked", [True, False])
def test_an_event_trips_where_its_kind_is_asked_for_and_a_divergence_until_it_is_over(
    kind: EventKind, recovered: bool | None, asked: bool
) -> None:
    gate = SpikeGate(fail_on=frozenset({kind}) if asked else frozenset(set(EventKind) - {kind}))
    over = kind is EventKind.DIVERGENCE and recovered is not None
    event = an_event(kind, recovered=recovered)
    result = a_log({"other": a_series(event)})
    assert trips(event, gate) is (asked and not over)
    assert judge(result, gate).verdict is (Verdict.FAIL if asked and not over else Verdict.PASS)
    assert tripping_event(result, gate) == (("other", event) if asked and not over else None)


def test_a_failed_limit_says_how_many_and_wins_over_too_little_data() -> None:
    series = {"loss": a_series(an_event(EventKind.NAN), points=2), "grad_norm": a_series(an_event(EventKind.NAN))}
    judged = judge(a_log(series, unreadable_lines=99), SpikeGate())
    assert judged.verdict is Verdict.FAIL
    assert judged.reason == "events.nan is 2, above 0"
    assert {one.metric: (one.value, one.limit, one.passed) for one in judged.limits} == {
        "events.nan": (2, 0, False), "events.divergence": (0, 0, True), "events.loss_scale": (0, 0, True),
    }  # fmt: skip


def test_the_first_line_of_any_series_is_what_trips() -> None:
    late, early = an_event(EventKind.NAN, line=9), an_event(EventKind.NAN, line=8)
    assert tripping_event(a_log({"loss": a_series(late), "other": a_series(early)}), SpikeGate()) == ("other", early)
    spike = an_event(EventKind.SPIKE, line=1)
    both = a_log({"loss": a_series(late, spike), "other": a_series(early)})
    assert tripping_event(both, SpikeGate(max_spikes=0)) == ("loss", spike)
    assert tripping_event(a_log({"other": a_series(spike)}), SpikeGate(max_spikes=0)) is None
