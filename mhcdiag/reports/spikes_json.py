"""The report on training logs as strict JSON; the keys are a contract."""

import json
import math
from typing import Any

from mhcdiag.results.judged import Unreadable
from mhcdiag.results.spikes import (
    Companion,
    Event,
    JudgedLog,
    RunSpan,
    SeriesResult,
    SpikesReport,
)
from mhcdiag.results.verdict import Limit

FORMAT_VERSION = 1


def spikes_json(report: SpikesReport) -> str:
    """Return the report as one JSON document.

    NaN and infinity do not exist in JSON: they become null. Steps are the log's; whole ones have no decimals.

    Arguments: report: over all logs of a command.
    """
    document = {
        "format_version": FORMAT_VERSION,
        "command": "spikes",
        "verdict": str(report.verdict),
        "results": [_unreadable(log) if isinstance(log, Unreadable) else _log(log, report) for log in report.logs],
    }
    if report.comparison is not None:
        gap = report.comparison
        document["against"] = {
            "path": gap.path,
            "other": gap.other,
            "points": gap.points,
            "first_step": _number(gap.first_step),
            "last_step": _number(gap.last_step),
            "final_gap": _number(gap.final_gap),
            "largest_gap": _number(gap.largest_gap),
            "largest_gap_step": _number(gap.largest_gap_step),
            "opens": _number(gap.opens),
        }
    return json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False)


def event_json(event: Event) -> dict[str, Any]:
    """Return one event as it stands in the report; also what a command run on failure receives."""
    return {
        "kind": str(event.kind),
        "run": event.run,
        "line": event.line,
        "start": _number(event.start),
        "peak": _number(event.peak),
        "end": _number(event.end),
        "value": _value(event.value),
        "baseline": _number(event.baseline),
        "z": _number(event.z),
        "points": event.points,
        "duration": _number(event.duration),
        "area": _number(event.area),
        "recovered": event.recovered,
        "recovery_steps": _number(event.recovery_steps),
        "grad_norm": _companion(event.companion),
        "note": event.note,
    }


def _log(log: JudgedLog, report: SpikesReport) -> dict[str, Any]:
    result = log.result
    found = {
        "path": result.path,
        "verdict": str(log.verdict),
        "reason": log.reason,
        "format": result.format,
        "rule": result.rule,
        "lines": result.lines,
        "loss_lines": result.loss_lines,
        "unreadable_lines": result.unreadable_lines,
        "runs": [_run(run) for run in result.runs],
        "notes": list(result.notes),
        "limits": [_limit(limit) for limit in log.limits],
        "series": {name: _series(series) for name, series in result.series.items()},
    }
    if report.advice:
        found["advice"] = [
            {
                "run": one.run,
                "rewind_to": _number(one.rewind_to),
                "skip_until": _number(one.skip_until),
                "text": one.text,
            }
            for one in report.advice
            if one.path == result.path
        ]
    return found


def _unreadable(log: Unreadable) -> dict[str, Any]:
    return {
        "path": log.path,
        "verdict": "unjudged",
        "reason": log.reason,
        "format": None,
        "rule": None,
        "lines": 0,
        "loss_lines": 0,
        "unreadable_lines": 0,
        "runs": [],
        "notes": [],
        "limits": [],
        "series": {},
    }


def _run(run: RunSpan) -> dict[str, Any]:
    return {"first_step": _number(run.first_step), "last_step": _number(run.last_step), "points": run.points}


def _limit(limit: Limit) -> dict[str, Any]:
    return {
        "metric": limit.metric,
        "value": _number(float(limit.value)),
        "limit": _number(limit.limit),
        "passed": limit.passed,
    }


def _series(series: SeriesResult) -> dict[str, Any]:
    return {
        "source_name": series.source_name,
        "points": series.points,
        "spike_score": {
            "olmo2": _number(series.spike_score.olmo2),
            "olmo_core": _number(series.spike_score.olmo_core),
        },
        "events": [event_json(event) for event in series.events],
    }


def _companion(companion: Companion | None) -> dict[str, Any] | None:
    if companion is None:
        return None
    return {
        "start": _number(companion.start),
        "peak": _number(companion.peak),
        "value": _number(companion.value),
        "first": companion.first,
    }


def _value(value: float) -> float | int | str | None:
    """A value of the log: NaN and infinity are strings, as in every report."""
    return str(value) if not math.isfinite(value) else _number(value)


def _number(value: float | None) -> float | int | None:
    if value is None or not math.isfinite(value):
        return None
    return int(value) if value == int(value) and abs(value) < 2**53 else value
