"""The record of a gain measurement as a JSON document, in a stable order of keys, and back."""

from collections.abc import Mapping

from mhcdiag.results.documents import (
    Json,
    read_count,
    read_flag,
    read_float,
    read_list,
    read_number,
    read_table,
    read_text,
    read_texts,
)
from mhcdiag.results.gain import (
    NOT_SAID,
    Bound,
    Curve,
    CurveKey,
    Definition,
    Direction,
    GainResult,
    Kind,
    NonFinite,
    Reduction,
    SinkhornQuality,
    SpanKey,
    WorstSpan,
)
from mhcdiag.results.numbers import number
from mhcdiag.results.verdict import Skipped

# Writing


def provenance(result: GainResult) -> Json:
    """Return what was measured, how, and under which assumptions."""
    return {
        "layout": result.layout,
        "model": result.model,
        "streams": result.streams,
        "sites": list(result.sites),
        "sites_total": result.sites_total,
        "tensors": list(result.tensors),
        "inputs": result.inputs,
        "tied_to": result.tied_to,
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
        "bound_doubt": result.bound_doubt,
        "gain": _gain(result.gain),
    }


def gain_document(result: GainResult) -> Json:
    """Return the whole record, but for `spans` and the mean mappings: they are drawn, and would fill the report."""
    return {"path": result.path, **provenance(result), **measurement(result)}


def _gain(gain: Mapping[CurveKey, Curve]) -> Json:
    nested: Json = {}
    for (kind, direction, definition, reduction), curve in gain.items():
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
        "reached": number(bound.reached),
        "why": bound.why,
        "by_layout": bound.by_layout,
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


# Reading


def gain_of(document: Json) -> GainResult:
    """Return the record that a document was made of; `spans` and the mean mappings, which it lacks, are empty.

    Parameters
    ----------
    document
        Of `gain_document`, or one result of the report of `mhcdiag gain`, which holds more.

    Raises
    ------
    KeyError, TypeError, ValueError
        A part is missing or is not what was written.
    """
    sites = read_texts(document["sites"])
    sinkhorn = document["sinkhorn"]
    return GainResult(
        path=read_text(document["path"]),
        layout=read_text(document["layout"]),
        model=read_text(document["model"]),
        streams=read_count(document["streams"]),
        sites=sites,
        tensors=read_texts(document["tensors"]),
        inputs=read_text(document["inputs"]),
        tokens=read_count(document["tokens"]),
        span_tokens=read_count(document["span_tokens"]),
        dtype=read_text(document["dtype"]),
        device=read_text(document["device"]),
        kernel=read_text(document["kernel"]),
        bytes_read=read_count(document["bytes_read"]),
        bytes_total=read_count(document["bytes_total"]),
        assumed=read_texts(document["assumed"]),
        skipped=tuple(_skipped_of(one) for one in read_list(document["skipped"])),
        excluded=read_texts(document["excluded"]),
        notes=read_texts(document["notes"]),
        nonfinite=tuple(_nonfinite_of(one) for one in read_list(document["nonfinite"])),
        gain=_gain_of(document["gain"], sites),
        worst=_worst_of(document["worst"]),
        spans={},
        bound={Direction(key): _bound_of(one, sites) for key, one in read_table(document["bound"]).items()},
        sinkhorn=None if sinkhorn is None else _sinkhorn_of(sinkhorn, sites),
        # The key came with the layouts whose streams end within each layer; before, all streams persisted.
        composes=read_flag(document.get("composes", True)),
        # These came with the evidence of verdicts: what is not said is no proof.
        tied_to=read_text(document.get("tied_to", "")),
        sites_total=read_count(document.get("sites_total", 0)),
        bound_doubt=read_text(document.get("bound_doubt", NOT_SAID)),
    )


def _skipped_of(document: object) -> Skipped:
    one = read_table(document)
    return Skipped(what=read_text(one["what"]), reason=read_text(one["reason"]))


def _nonfinite_of(document: object) -> NonFinite:
    one = read_table(document)
    return NonFinite(site=read_text(one["site"]), tensors=read_texts(one["tensors"]), found=read_text(one["found"]))


def _gain_of(document: object, sites: tuple[str, ...]) -> dict[CurveKey, Curve]:
    return {
        (Kind(kind), Direction(direction), Definition(definition), Reduction(reduction)): _curve_of(curve, sites)
        for kind, directions in read_table(document).items()
        for direction, definitions in read_table(directions).items()
        for definition, reductions in read_table(definitions).items()
        for reduction, curve in read_table(reductions).items()
    }


def _worst_of(document: object) -> dict[SpanKey, WorstSpan]:
    return {
        (Direction(direction), Definition(definition)): WorstSpan(
            value=read_number(span["value"]),
            from_site=read_text(span["from_site"]),
            to_site=read_text(span["to_site"]),
        )
        for direction, definitions in read_table(document).items()
        for definition, span in read_table(definitions).items()
    }


def _bound_of(document: object, sites: tuple[str, ...]) -> Bound:
    bound = read_table(document)
    single, prefix, suffix = (
        None if bound[part] is None else _curve_of(bound[part], sites) for part in ("single", "prefix", "suffix")
    )
    # `reached` came with the default inputs `aligned`.
    worst, reached = bound["worst"], bound.get("reached")
    return Bound(
        single=single,
        prefix=prefix,
        suffix=suffix,
        worst=None if worst is None else read_number(worst),
        reached=None if reached is None else read_number(reached),
        why=read_text(bound["why"]),
        by_layout=read_flag(bound.get("by_layout", False)),
    )


def _sinkhorn_of(document: object, sites: tuple[str, ...]) -> SinkhornQuality:
    quality = read_table(document)
    return SinkhornQuality(
        exact_side=Direction(quality["exact_side"]),
        row_residual=_curve_of(quality["row_residual"], sites),
        column_residual=_curve_of(quality["column_residual"], sites),
        log_sum_mean=read_float(quality["log_sum_mean"]),
        log_sum_max=read_float(quality["log_sum_max"]),
    )


def _curve_of(document: object, sites: tuple[str, ...]) -> Curve:
    curve = tuple(read_number(value) for value in read_list(document))
    if len(curve) != len(sites):
        raise ValueError(f"a curve of {len(curve)} numbers for {len(sites)} sites")
    return curve
