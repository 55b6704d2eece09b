"""The reports of `mhcdiag spikes` that programs read: JSON and CSV; keys and columns are a contract."""

import csv
import io
import json
import math
from typing import Any

from mhcdiag.reports.text import all_digits
from mhcdiag.results.documents.spikes import log_facts, log_series
from mhcdiag.results.judged import Unreadable
from mhcdiag.results.numbers import step
from mhcdiag.results.spikes import Event, JudgedLog, SpikesReport
from mhcdiag.results.verdict import Limit

FORMAT_VERSION = 1


def spikes_json(report: SpikesReport) -> str:
    """Return the report as one JSON document.

    NaN and infinity do not exist in JSON: they become null. Steps are the log's; whole ones have no decimals.
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
            "first_step": step(gap.first_step),
            "last_step": step(gap.last_step),
            "final_gap": step(gap.final_gap),
            "largest_gap": step(gap.largest_gap),
            "largest_gap_step": step(gap.largest_gap_step),
            "opens": step(gap.opens),
        }
    return json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False)


def _log(log: JudgedLog, report: SpikesReport) -> dict[str, Any]:
    result = log.result
    found = {
        "path": result.path,
        "verdict": str(log.verdict),
        "reason": log.reason,
        **log_facts(result),
        "limits": [_limit(limit) for limit in log.limits],
        "series": log_series(result),
    }
    if report.advice:
        found["advice"] = [
            {
                "run": one.run,
                "rewind_to": step(one.rewind_to),
                "skip_until": step(one.skip_until),
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


def _limit(limit: Limit) -> dict[str, Any]:
    return {
        "metric": limit.metric,
        "value": step(float(limit.value)),
        "limit": step(limit.limit),
        "passed": limit.passed,
    }


COLUMNS = (
    "path", "series", "kind", "run", "line", "start", "peak", "end", "value", "baseline", "z", "points",
    "duration", "area", "recovered", "recovery_steps", "grad_norm_start", "grad_norm_peak", "grad_norm_value",
    "first", "note",
)  # fmt: skip


def spikes_csv(report: SpikesReport) -> str:
    """Return all events of all logs, one a line; what is not known is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for log in report.logs:
        if isinstance(log, Unreadable):
            continue
        for name, series in log.result.series.items():
            writer.writerows([log.result.path, name, *_cells(event)] for event in series.events)
    return text.getvalue()


def _cells(event: Event) -> list[str]:
    companion = event.companion
    recovered = "" if event.recovered is None else str(event.recovered).lower()
    numbers = [_text(one) for one in (event.start, event.peak, event.end, event.value, event.baseline, event.z)]
    beside = ["", "", "", ""]
    if companion is not None:
        beside = [_text(companion.start), _text(companion.peak), _text(companion.value), companion.first]
    return [
        str(event.kind),
        str(event.run),
        str(event.line),
        *numbers,
        str(event.points),
        _text(event.duration),
        _text(event.area),
        recovered,
        _text(event.recovery_steps),
        *beside,
        event.note,
    ]


def _text(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return ""
    return all_digits(value)
