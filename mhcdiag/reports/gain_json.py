"""The JSON report of `mhcdiag gain`: the contract that scripts rely on.

Strict JSON with a stable order of keys: NaN and infinity are strings, and a number beyond float64 is {"log10": ...}.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from mhcdiag.results.gain import Bound, Curve, GainResult, SinkhornQuality, Span, SpanKey
from mhcdiag.results.judged import JudgedGain, Unreadable, overall
from mhcdiag.results.numbers import Huge, Number

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


def number(value: Number | None) -> object:
    """A number as strict JSON."""
    if value is None:
        return None
    if isinstance(value, Huge):
        return {"log10": value.log10}
    if math.isfinite(value):
        return value
    return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"


def _unreadable(each: Unreadable) -> Json:
    return {"path": each.path, "verdict": str(each.verdict), "error": each.reason}


def _judged(each: JudgedGain) -> Json:
    result = each.result
    return {
        "path": result.path,
        "verdict": str(each.verdict),
        "reason": each.reason,
        **_provenance(result),
        "limits": [
            {
                "metric": limit.metric,
                "value": number(limit.value),
                "limit": number(limit.limit),
                "passed": limit.passed,
            }
            for limit in each.limits
        ],
        "nonfinite": [
            {"site": broken.site, "tensors": list(broken.tensors), "found": broken.found} for broken in result.nonfinite
        ],
        "worst": _worst(result.worst),
        "composes": result.composes,
        "sinkhorn": None if result.sinkhorn is None else _sinkhorn(result.sinkhorn),
        "bound": {str(direction): _bound(bound) for direction, bound in result.bound.items()},
        "gain": _gain(result),
    }


def _provenance(result: GainResult) -> Json:
    return {
        "layout": result.layout,
        "model": result.model,
        "streams": result.streams,
        "sites": list(result.sites),
        "tensors": list(result.tensors),
        "inputs": result.inputs,
        "tokens": result.tokens,
        "span_tokens": result.span_tokens,
        "dtype": result.dtype,
        "device": result.device,
        "kernel": result.kernel,
        "bytes_read": result.bytes_read,
        "bytes_total": result.bytes_total,
        "assumed": list(result.assumed),
        "skipped": [{"what": skipped.what, "reason": skipped.reason} for skipped in result.skipped],
        "excluded": list(result.excluded),
        "notes": list(result.notes),
    }


def _gain(result: GainResult) -> Json:
    nested: Json = {}
    for (kind, direction, definition, reduction), curve in result.gain.items():
        reductions = nested.setdefault(str(kind), {}).setdefault(str(direction), {}).setdefault(str(definition), {})
        reductions[str(reduction)] = _curve(curve)
    return nested


def _worst(worst: Mapping[SpanKey, Span]) -> Json:
    nested: Json = {}
    for (direction, definition), span in worst.items():
        nested.setdefault(str(direction), {})[str(definition)] = {
            "value": number(span.value),
            "from_site": span.from_site,
            "to_site": span.to_site,
        }
    return nested


def _bound(bound: Bound) -> Json:
    return {
        "single": _curve(bound.single),
        "prefix": _curve(bound.prefix),
        "suffix": _curve(bound.suffix),
        "worst": number(bound.worst),
        "why": bound.why,
    }


def _sinkhorn(quality: SinkhornQuality) -> Json:
    return {
        "exact_side": str(quality.exact_side),
        "row_residual": _curve(quality.row_residual),
        "column_residual": _curve(quality.column_residual),
        "log_sum_mean": number(quality.log_sum_mean),
        "log_sum_max": number(quality.log_sum_max),
    }


def _curve(curve: Curve | None) -> object:
    return None if curve is None else [number(value) for value in curve]
