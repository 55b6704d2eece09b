"""Where to restart from, and what to skip."""

import math
from dataclasses import replace

import pytest

from mhcdiag.results.spikes import BinnedCurve, Event, EventKind, LogResult, RunSpan, SeriesResult, SpikeScore
from mhcdiag.usecases.spikes import advice

EVENT = Event(
    kind=EventKind.SPIKE,
    run=0,
    line=5,
    start=700.0,
    peak=701.0,
    end=702.0,
    value=9.0,
    baseline=2.5,
    z=30.0,
    points=3,
    duration=3.0,
    area=13.0,
    recovered=False,
    recovery_steps=None,
)


def log(*events: Event, first_steps: tuple[float, ...] = (0.0,), series: str = "loss") -> LogResult:
    judged = SeriesResult(
        source_name=series,
        points=997,
        spike_score=SpikeScore(olmo2=0.0, olmo_core=0.0),
        events=events,
        curve=BinnedCurve(run=(), step=(), low=(), high=()),
    )
    return LogResult(
        path="run.log",
        format="jsonl",
        rule="mhcdiag",
        lines=997,
        loss_lines=997,
        unreadable_lines=0,
        runs=tuple(RunSpan(first_step=first, last_step=first + 996, points=997) for first in first_steps),
        series={series: judged},
        notes=(),
    )


def test_back_a_hundred_steps_and_past_five_hundred_batches() -> None:
    (found,) = advice(log(EVENT))
    assert (found.path, found.run, found.rewind_to, found.skip_until) == ("run.log", 0, 600.0, 1100.0)
    assert found.text == (
        "spike at step 700 did not recover: restart from a checkpoint at or before step 600 and skip 200 to 500 "
        "batches from there (PaLM, arXiv 2204.02311, section 5.1)"
    )


@pytest.mark.parametrize(
    ("start", "first_step", "target"), [(700.0, 599.0, 600.0), (700.0, 600.0, 600.0), (700.0, 601.0, 601.0)]
)
def test_never_before_the_run_began(start: float, first_step: float, target: float) -> None:
    (found,) = advice(log(replace(EVENT, start=start), first_steps=(first_step,)))
    assert (found.rewind_to, found.skip_until) == (target, target + 500)


def test_a_run_that_is_not_known_begins_at_zero() -> None:
    (found,) = advice(log(replace(EVENT, run=1, start=30.0), first_steps=(20.0,)))
    assert found.rewind_to == 0.0


@pytest.mark.parametrize("kind", [EventKind.SPIKE, EventKind.SHIFT, EventKind.DIVERGENCE, EventKind.NAN])
@pytest.mark.parametrize(("recovered", "told"), [(True, 0), (False, 1), (None, 1)])
def test_harm_that_did_not_recover(kind: EventKind, recovered: bool | None, told: int) -> None:
    assert len(advice(log(replace(EVENT, kind=kind, recovered=recovered)))) == told


@pytest.mark.parametrize("kind", [EventKind.BLIP, EventKind.GRADSPIKE, EventKind.LOSS_SCALE])
def test_other_events_need_none(kind: EventKind) -> None:
    assert advice(log(replace(EVENT, kind=kind))) == ()


def test_the_first_of_each_run_and_the_loss_only() -> None:
    events = [replace(EVENT, run=run, start=start) for run, start in [(0, 700.0), (0, 800.0), (1, 900.0), (1, 950.0)]]
    assert [(one.run, one.rewind_to) for one in advice(log(*events, first_steps=(0.0, 0.0)))] == [(0, 600), (1, 800)]
    assert advice(log(EVENT, series="grad_norm")) == ()


def test_steps_as_people_write_them() -> None:
    (found,) = advice(log(replace(EVENT, start=10400.0), first_steps=(10350.25,)))
    assert "at step 10,400 did" in found.text
    assert "before step 10350.2 and" in found.text


@pytest.mark.parametrize("start", [math.nan, math.inf])
def test_a_nan_message_before_the_first_step_gives_way_to_what_has_a_step(start: float) -> None:
    message = replace(EVENT, kind=EventKind.NAN, start=start)
    assert advice(log(message)) == ()
    assert [one.rewind_to for one in advice(log(message, EVENT))] == [600]
