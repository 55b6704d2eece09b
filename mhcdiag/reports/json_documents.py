"""Reports that programs read: JSON of `gain`, `spikes` and `trend`, CSV of `spikes`; their keys are a contract."""

import csv
import io
import json
import math
from collections.abc import Sequence
from typing import Any

from mhcdiag.reports.text import all_digits
from mhcdiag.results.bands import LEAST_RUNS, RISK
from mhcdiag.results.documents.gain import measurement, provenance
from mhcdiag.results.documents.spikes import log_facts, log_series
from mhcdiag.results.documents.weights import weights_document
from mhcdiag.results.evidence import assurance, qualification, weakest
from mhcdiag.results.judged import JudgedGain, Unreadable, overall
from mhcdiag.results.numbers import number, step
from mhcdiag.results.spikes import Event, JudgedLog, SpikesReport
from mhcdiag.results.trend import Crossing, DirectionTrend, Growth, JudgedTrend, TrendPoint, qualification_of_trend
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
        "results": [_unreadable_log(log) if isinstance(log, Unreadable) else _log(log, report) for log in report.logs],
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


def _unreadable_log(log: Unreadable) -> dict[str, Any]:
    return {
        "path": log.path,
        "verdict": "unjudged",
        "reason": log.reason,
        "format": None,
        "rule": None,
        "lines": 0,
        "loss_lines": 0,
        "unreadable_lines": 0,
        "merged_records": 0,
        "replaced_records": 0,
        "ignored_lines": 0,
        "doubt": "",
        "numbering": "line",
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


Json = dict[str, Any]


def gain_json(judged: Sequence[JudgedGain | Unreadable]) -> str:
    """The report as text, ending in a newline.

    JSON has no NaN and no infinity, and a float no 1e4880: `mhcdiag.results.numbers.number` writes them as "nan", "inf"
    and {"log10": 4880.5}, and `parse_number` reads them back.
    """
    document = {
        "format_version": FORMAT_VERSION,
        "command": "gain",
        "verdict": str(overall(judged)),
        "results": [_unreadable(each) if isinstance(each, Unreadable) else _judged(each) for each in judged],
    }
    return json.dumps(document, allow_nan=False, ensure_ascii=False) + "\n"


def limits_document(limits: Sequence[Limit]) -> list[Json]:
    """Every number that was judged, with its limit."""
    return [
        {
            "metric": one.metric,
            "value": number(one.value),
            "limit": number(one.limit),
            "passed": one.passed,
            "evidence": None if one.evidence is None else str(one.evidence),
            "bound": number(one.bound),
        }
        for one in limits
    ]


def _unreadable(each: Unreadable) -> Json:
    return {"path": each.path, "verdict": str(each.verdict), "error": each.reason}


def _judged(each: JudgedGain) -> Json:
    result = each.result
    return {
        "path": result.path,
        "verdict": str(each.verdict),
        "reason": each.reason,
        "evidence": None if each.evidence is None else str(each.evidence),
        "rests_on": assurance(result, each.limits) or qualification(result, each.limits),
        **provenance(result),
        "limits": limits_document(each.limits),
        "weights": None if each.weights is None else weights_document(each.weights),
        **measurement(result),
    }


def trend_json(judged: JudgedTrend | Unreadable) -> str:
    """The report as text, ending in a newline."""
    head: Json = {"format_version": FORMAT_VERSION, "command": "trend", "verdict": str(judged.verdict)}
    if isinstance(judged, Unreadable):
        document = head | {"path": judged.path, "error": judged.reason}
    else:
        document = head | _trend(judged)
    return json.dumps(document, allow_nan=False, ensure_ascii=False) + "\n"


def _trend(judged: JudgedTrend) -> Json:
    result = judged.result
    evidence = weakest(limit.evidence for limit in judged.limits)
    return {
        "path": result.path,
        "reason": judged.reason,
        "evidence": None if evidence is None else str(evidence),
        "rests_on": qualification_of_trend(result, judged.limits),
        "source": str(result.source),
        "measured": result.measured,
        "inputs": result.inputs,
        "stream_rms": number(result.stream_rms),
        "notes": list(result.notes),
        "skipped": [{"what": each.what, "reason": each.reason} for each in result.skipped],
        "limits": limits_document(judged.limits),
        "points": _points(result.points),
        "beside": None
        if result.beside is None
        else {
            "source": str(result.beside.source),
            "measured": result.beside.measured,
            "points": _points(result.beside.points),
        },
        "trends": {str(direction): _direction(trend) for direction, trend in result.trends.items()},
        "drivers": {
            str(direction): [{"site": each.site, "share": each.share} for each in drivers]
            for direction, drivers in result.drivers.items()
        },
        "risk": [
            {"upto": number(band.upto), "runs": band.runs, "events": band.events}
            for band in (RISK if result.is_of_study else ())
            if band.runs >= LEAST_RUNS
        ],
        "log": None if result.log is None else result.log.path,
    }


def _points(points: Sequence[TrendPoint]) -> list[Json]:
    return [
        {"step": point.step, "source": point.source, **{str(way): number(gain) for way, gain in point.gain.items()}}
        for point in points
    ]


def _direction(trend: DirectionTrend) -> Json:
    return {
        "newest": number(trend.newest),
        "peak": number(trend.peak),
        "peak_step": trend.peak_step,
        "growth": _growth(trend.growth),
        "crossings": [_crossing(crossing) for crossing in trend.crossings],
    }


def _growth(growth: Growth) -> Json:
    def known(value: float) -> float | None:
        return value if math.isfinite(value) else None

    return {
        "rate": known(growth.rate),
        "low": known(growth.low),
        "high": known(growth.high),
        "doubling_steps": known(growth.doubling_steps()),
        "points": growth.points,
        "first_step": growth.first_step,
        "last_step": growth.last_step,
    }


def _crossing(crossing: Crossing) -> Json:
    return {
        "name": crossing.name,
        "limit": number(crossing.limit),
        "passed": crossing.passed,
        "expected": crossing.expected,
        "earliest": crossing.earliest,
        "latest": crossing.latest,
    }
