"""Our rule: laws first, then one series for every class of event."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trainlogs import events_of, healthy, spiky, write_jsonl

from mhcdiag.usecases.spikes import spikes

LAW = settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])


def where(path: Path, loss: np.ndarray, **others: np.ndarray) -> list[tuple[str, float, float]]:
    return [(str(event.kind), event.start, event.end) for event in events_of(path / "run.jsonl", loss, **others)]


@LAW
@given(st.floats(-6, 6).map(lambda log: 2.0**log), st.integers(0, 100))
def test_a_positive_factor_does_not_change_the_events(tmp_path: Path, factor: float, seed: int):
    loss = spiky() + 0.05 * np.random.default_rng(seed).standard_normal(800)
    assert where(tmp_path, loss * factor) == where(tmp_path, loss)


@LAW
@given(st.integers(560, 800), st.integers(0, 100))
def test_points_that_follow_never_change_a_closed_event(tmp_path: Path, cut: int, seed: int):
    loss = spiky() + 0.01 * np.random.default_rng(seed).standard_normal(800)
    before = [event for event in events_of(tmp_path / "a.jsonl", loss[:cut]) if event.recovered]
    after = events_of(tmp_path / "b.jsonl", loss)
    assert before
    assert all(event in after for event in before)


@pytest.mark.parametrize("seed", range(7))
def test_a_healthy_loss_is_silent(tmp_path: Path, seed: int):
    assert where(tmp_path, healthy(3000, seed=seed)) == []


@pytest.mark.parametrize("digits", [1, 2, 3])
def test_rounded_values_are_no_events(tmp_path: Path, digits: int):
    assert where(tmp_path, np.round(healthy(3000), digits)) == []


def test_steps_down_are_no_events(tmp_path: Path):
    """Epoch boundaries of a fine-tuning run."""
    loss = np.repeat([0.9, 0.6, 0.4, 0.3], 400) * (1 + 0.03 * np.random.default_rng(1).standard_normal(1600))
    assert where(tmp_path, loss) == []


def test_one_point_is_a_blip(tmp_path: Path):
    loss = healthy()
    loss[400] += 1.0
    assert where(tmp_path, loss) == [("blip", 401, 401)]


def test_several_points_that_come_back_are_a_spike(tmp_path: Path):
    (event,) = events_of(tmp_path / "run.jsonl", spiky())
    assert (event.kind, event.start, event.peak) == ("spike", 501, 501)
    assert event.recovered is True
    assert event.value == pytest.approx(spiky()[500])
    assert event.baseline == pytest.approx(2.4 + 8.6 * 500**-0.45, rel=0.02)
    assert event.line == 501


def test_a_new_stable_level_is_a_shift(tmp_path: Path):
    loss = healthy(1200)
    loss[600:] += 0.22
    assert [kind for kind, _, _ in where(tmp_path, loss)] == ["shift"]


def test_a_climb_without_return_is_a_divergence(tmp_path: Path):
    loss = healthy(1200)
    loss[700:] += np.linspace(0, 3, 500)
    kinds = [kind for kind, _, _ in where(tmp_path, loss)]
    assert "divergence" in kinds


def test_an_event_open_at_the_end_says_so(tmp_path: Path):
    (event,) = events_of(tmp_path / "run.jsonl", spiky(at=500)[:506])
    assert event.recovered is None


def test_nan_is_an_event_and_blinds_nothing(tmp_path: Path):
    loss = spiky(at=600)
    loss[300:303] = np.nan
    assert [(kind, start) for kind, start, _ in where(tmp_path, loss)] == [("nan", 301), ("spike", 601)]


def test_negative_losses_are_judged(tmp_path: Path):
    loss = 0.2 * np.random.default_rng(3).standard_normal(900) - 0.1
    loss[500:504] += 4.0
    assert [(kind, start) for kind, start, _ in where(tmp_path, loss)] == [("spike", 501)]


def test_the_gradient_norm_that_moves_first_is_named(tmp_path: Path):
    norm = 0.4 * np.exp(0.1 * np.random.default_rng(2).standard_normal(800))
    norm[498:505] *= 20
    (event,) = events_of(tmp_path / "run.jsonl", spiky(), grad_norm=norm)
    assert event.companion is not None
    assert event.companion.start == 499
    found = spikes(str(tmp_path / "run.jsonl")).series["grad_norm"].events
    assert [(event.kind, event.start) for event in found] == [("gradspike", 499)]


def test_a_short_series_is_not_judged_for_spikes(tmp_path: Path):
    loss = healthy(40)
    loss[30] += 5
    path = write_jsonl(tmp_path / "run.jsonl", loss)
    result = spikes(str(path))
    assert result.series["loss"].events == ()
    assert any("short: spikes not judged" in note for note in result.notes)


def test_a_falling_loss_scale_at_its_minimum_is_an_event(tmp_path: Path):
    scale = np.concatenate([np.full(700, 65536.0), 2.0 ** np.arange(15, -1, -1), np.full(84, 1.0)])
    path = write_jsonl(tmp_path / "run.jsonl", healthy(), loss_scale=scale)
    result = spikes(str(path))
    kinds = [str(event.kind) for series in result.series.values() for event in series.events]
    assert "loss_scale" in kinds


@pytest.mark.parametrize("rule", ["olmo-core", "olmo2"])
def test_published_rules_find_the_spike_as_well(tmp_path: Path, rule: str):
    path = write_jsonl(tmp_path / "run.jsonl", spiky(at=700, height=3.0) if rule == "olmo-core" else _long_spike())
    events = spikes(str(path), rule=rule).series["loss"].events
    assert len(events) == 1


def _long_spike() -> np.ndarray:
    """OLMo 2's window of 1000 points needs a log that is longer."""
    loss = 2.5 + 0.02 * np.random.default_rng(5).standard_normal(2500)
    loss[2000:2005] += 2.0
    return loss


@pytest.mark.parametrize(
    ("rule", "factor", "found"),
    [("megatron", 9.0, 0), ("megatron", 11.0, 1), ("kill-loss-spike", 1.9, 0), ("kill-loss-spike", 2.1, 1)],
)
def test_ratio_rules_hold_their_ratio(tmp_path: Path, rule: str, factor: float, found: int):
    loss = np.full(600, 2.0)
    loss[300:310] *= factor
    path = write_jsonl(tmp_path / "run.jsonl", loss)
    assert len(spikes(str(path), rule=rule).series["loss"].events) == found
