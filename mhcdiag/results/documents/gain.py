"""The record of a gain measurement as a JSON document, in a stable order of keys."""

from collections.abc import Mapping
from typing import Any

from mhcdiag.results.gain import Bound, Curve, GainResult, SinkhornQuality, SpanKey, WorstSpan
from mhcdiag.results.numbers import number

Json = dict[str, Any]


def provenance(result: GainResult) -> Json:
    """Return what was measured, how, and under which assumptions."""
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


def measurement(result: GainResult) -> Json:
    """Return the numbers."""
    return {
        "nonfinite": [
            {"site": broken.site, "tensors": list(broken.tensors), "found": broken.found} for broken in result.nonfinite
        ],
        "worst": _worst(result.worst),
        "composes": result.composes,
        "sinkhorn": None if result.sinkhorn is None else _sinkhorn(result.sinkhorn),
        "bound": {str(direction): _bound(bound) for direction, bound in result.bound.items()},
        "gain": _gain(result),
    }


def gain_document(result: GainResult) -> Json:
    """Return the whole record."""
    return {"path": result.path, **provenance(result), **measurement(result)}


def _gain(result: GainResult) -> Json:
    nested: Json = {}
    for (kind, direction, definition, reduction), curve in result.gain.items():
        reductions = nested.setdefault(str(kind), {}).setdefault(str(direction), {}).setdefault(str(definition), {})
        reductions[str(reduction)] = _curve(curve)
    return nested


def _worst(worst: Mapping[SpanKey, WorstSpan]) -> Json:
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
