"""The gate fails closed, and never calls an unread log clean."""

import json
from pathlib import Path

import pytest

from mhcdiag.cli.spikes_choices import parse_kinds, parse_steps
from mhcdiag.errors import SettingError
from mhcdiag.gates.spikes import SpikeGate, judge, tripping_event
from mhcdiag.logapi import LogOptions, spikes
from mhcdiag.results.spikes import Kind
from mhcdiag.results.verdict import Verdict


def verdict(folder: Path, losses: list[object], gate: SpikeGate | None = None) -> Verdict:
    path = folder / "log.jsonl"
    path.write_text("".join(json.dumps({"step": i, "loss": one}) + "\n" for i, one in enumerate(losses)))
    return judge(spikes(str(path), LogOptions(log_format="jsonl")), gate or SpikeGate()).verdict


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
    assert verdict(tmp_path, losses, SpikeGate(fail_on=frozenset({Kind.SPIKE}))) is Verdict.FAIL
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
    assert verdict(tmp_path, _climb(back), SpikeGate(fail_on=frozenset({Kind.NAN}))) is Verdict.PASS


def test_the_event_that_trips_is_the_first_that_counts(tmp_path: Path) -> None:
    losses: list[object] = [2.0 + 0.001 * (i % 7) for i in range(401)]
    losses[151:157] = [4.0] * 6
    losses[251:257] = [5.0] * 6
    losses[301] = float("nan")
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps({"step": i, "loss": one}) + "\n" for i, one in enumerate(losses)))
    result = spikes(str(path), LogOptions(log_format="jsonl"))
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
    assert parse_kinds("nan, spike") == {Kind.NAN, Kind.SPIKE}
    assert parse_kinds("never") == frozenset()
    assert parse_steps("2000:") == (2000.0, float("inf"))
    with pytest.raises(SettingError, match="'foo' is none of"):
        parse_kinds("foo")
    with pytest.raises(SettingError, match="FIRST:LAST"):
        parse_steps("12")
