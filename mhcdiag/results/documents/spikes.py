"""The report on one training log as a JSON document; steps are the log's."""

import math
from typing import Any

from mhcdiag.results.numbers import step
from mhcdiag.results.spikes import Companion, Event, LogResult, RunSpan, SeriesResult

Json = dict[str, Any]


def log_facts(result: LogResult) -> Json:
    """Return what was read, and how."""
    return {
        "format": result.format,
        "rule": result.rule,
        "lines": result.lines,
        "loss_lines": result.loss_lines,
        "unreadable_lines": result.unreadable_lines,
        "runs": [_run(run) for run in result.runs],
        "notes": list(result.notes),
    }


def log_series(result: LogResult) -> Json:
    """Return the judged series with their events."""
    return {name: _series(series) for name, series in result.series.items()}


def spikes_document(result: LogResult) -> Json:
    """Return the whole record."""
    return {"path": result.path, **log_facts(result), "series": log_series(result)}


def event_document(event: Event) -> Json:
    """Return one event as it stands in the report; also what a command run on failure receives."""
    return {
        "kind": str(event.kind),
        "run": event.run,
        "line": event.line,
        "start": step(event.start),
        "peak": step(event.peak),
        "end": step(event.end),
        "value": _value(event.value),
        "baseline": step(event.baseline),
        "z": step(event.z),
        "points": event.points,
        "duration": step(event.duration),
        "area": step(event.area),
        "recovered": event.recovered,
        "recovery_steps": step(event.recovery_steps),
        "grad_norm": _companion(event.companion),
        "note": event.note,
    }


def _run(run: RunSpan) -> Json:
    return {"first_step": step(run.first_step), "last_step": step(run.last_step), "points": run.points}


def _series(series: SeriesResult) -> Json:
    return {
        "source_name": series.source_name,
        "points": series.points,
        "spike_score": {
            "olmo2": step(series.spike_score.olmo2),
            "olmo_core": step(series.spike_score.olmo_core),
        },
        "events": [event_document(event) for event in series.events],
    }


def _companion(companion: Companion | None) -> Json | None:
    if companion is None:
        return None
    return {
        "start": step(companion.start),
        "peak": step(companion.peak),
        "value": step(companion.value),
        "first": companion.first,
    }


def _value(value: float) -> float | int | str | None:
    """A value of the log: NaN and infinity are strings, as in every report."""
    return str(value) if not math.isfinite(value) else step(value)
