"""The JSON report of `mhcdiag trend`; its keys are a contract (`results/documents/schema/trend.schema.json`)."""

import json
import math
from typing import Any

from mhcdiag.reports.gain_json import limits_document
from mhcdiag.results.bands import RISK
from mhcdiag.results.judged import Unreadable
from mhcdiag.results.numbers import number
from mhcdiag.results.trend import MEASURED, Crossing, DirectionTrend, Growth, JudgedTrend

FORMAT_VERSION = 1

Json = dict[str, Any]


def trend_json(judged: JudgedTrend | Unreadable) -> str:
    """The report as text, ending in a newline."""
    head: Json = {"format_version": FORMAT_VERSION, "command": "trend", "verdict": str(judged.verdict)}
    if isinstance(judged, Unreadable):
        document = head | {"path": judged.path, "error": judged.reason}
    else:
        document = head | _judged(judged)
    return json.dumps(document, allow_nan=False, ensure_ascii=False) + "\n"


def _judged(judged: JudgedTrend) -> Json:
    result = judged.result
    return {
        "path": result.path,
        "reason": judged.reason,
        "source": str(result.source),
        "measured": MEASURED[result.source],
        "stream_rms": number(result.stream_rms),
        "notes": list(result.notes),
        "skipped": [{"what": each.what, "reason": each.reason} for each in result.skipped],
        "limits": limits_document(judged.limits),
        "points": [
            {
                "step": point.step,
                "source": point.source,
                **{str(way): number(gain) for way, gain in point.gain.items()},
            }
            for point in result.points
        ],
        "trends": {str(direction): _direction(trend) for direction, trend in result.trends.items()},
        "drivers": {
            str(direction): [{"site": each.site, "share": each.share} for each in drivers]
            for direction, drivers in result.drivers.items()
        },
        "risk": [{"upto": number(band.upto), "runs": band.runs, "events": band.events} for band in RISK],
        "log": None if result.log is None else result.log.path,
    }


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
