"""The JSON report of `mhcdiag gain`; its keys are a contract (`results/documents/schema/gain.schema.json`)."""

import json
from collections.abc import Sequence
from typing import Any

from mhcdiag.results.documents.gain import measurement, provenance
from mhcdiag.results.judged import JudgedGain, Unreadable, overall
from mhcdiag.results.numbers import number
from mhcdiag.results.verdict import Limit

FORMAT_VERSION = 1

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
        {"metric": one.metric, "value": number(one.value), "limit": number(one.limit), "passed": one.passed}
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
        **provenance(result),
        "limits": limits_document(each.limits),
        **measurement(result),
    }
