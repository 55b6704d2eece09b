"""The JSON report of `mhcdiag gain`: the contract that scripts rely on.

Strict JSON with a stable order of keys: NaN and infinity are strings, and a number beyond float64 is {"log10": ...}.
"""

import json
from collections.abc import Sequence
from typing import Any

from mhcdiag.results.documents.gain import measurement, provenance
from mhcdiag.results.judged import JudgedGain, Unreadable, overall
from mhcdiag.results.numbers import number

FORMAT_VERSION = 1

Json = dict[str, Any]


def gain_json(judged: Sequence[JudgedGain | Unreadable]) -> str:
    """The report as text, ending in a newline."""
    document = {
        "format_version": FORMAT_VERSION,
        "command": "gain",
        "verdict": str(overall(judged)),
        "results": [_unreadable(each) if isinstance(each, Unreadable) else _judged(each) for each in judged],
    }
    return json.dumps(document, allow_nan=False, ensure_ascii=False) + "\n"


def _unreadable(each: Unreadable) -> Json:
    return {"path": each.path, "verdict": str(each.verdict), "error": each.reason}


def _judged(each: JudgedGain) -> Json:
    result = each.result
    return {
        "path": result.path,
        "verdict": str(each.verdict),
        "reason": each.reason,
        **provenance(result),
        "limits": [
            {
                "metric": limit.metric,
                "value": number(limit.value),
                "limit": number(limit.limit),
                "passed": limit.passed,
            }
            for limit in each.limits
        ],
        **measurement(result),
    }
