"""The gate fails closed, and never calls an unread log clean."""

import json
from pathlib import Path

import pytest

from mhcdiag.cli.spikes_choices import parse_kinds, parse_steps
from mhcdiag.errors import SettingError
from mhcdiag.gates.spikes import SpikeGate, judge
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


def test_words_of_the_command_line() -> None:
    assert parse_kinds("nan, spike") == {Kind.NAN, Kind.SPIKE}
    assert parse_kinds("never") == frozenset()
    assert parse_steps("2000:") == (2000.0, float("inf"))
    with pytest.raises(SettingError, match="'foo' is none of"):
        parse_kinds("foo")
    with pytest.raises(SettingError, match="FIRST:LAST"):
        parse_steps("12")
