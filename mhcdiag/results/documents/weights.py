"""The record of a scan of all weights as a JSON document, and back."""

from mhcdiag.results.documents import (
    Json,
    read_count,
    read_float,
    read_list,
    read_table,
    read_text,
    read_texts,
)
from mhcdiag.results.health import Severity
from mhcdiag.results.numbers import number
from mhcdiag.results.verdict import Skipped
from mhcdiag.results.weights import TensorNumbers, WeightsFinding, WeightsKind, WeightsResult

# Writing


def weights_document(result: WeightsResult, *, numbers: bool = False) -> Json:
    """Return the record, but for the time that the scan took: reports of the same input are the same bytes.

    Parameters
    ----------
    numbers
        With those of every tensor: a hundred thousand entries for a mixture of experts, so that only `mhcdiag weights`
        writes them.
    """
    found = {
        "path": result.path,
        "unscanned": result.unscanned or None,
        "expected_seconds": number(result.expected_seconds),
        "tensors": result.tensors,
        "tensors_scanned": result.tensors_scanned,
        "elements": result.elements,
        "elements_scanned": result.elements_scanned,
        "bytes_total": result.bytes_total,
        "bytes_scanned": result.bytes_scanned,
        "sample": number(result.sample),
        "match": list(result.match),
        "allow": list(result.allow),
        "left_out": result.left_out,
        "complete": result.is_complete,
        "finite": result.is_finite,
        "skipped": [{"what": one.what, "reason": one.reason} for one in result.skipped],
        "findings": [_finding(one) for one in result.findings],
        "allowed": [_finding(one) for one in result.allowed],
        "notes": list(result.notes),
        "unread": list(result.unread),
        "absmax": number(result.absmax),
        "kernel": result.kernel or None,
    }
    return found | {"numbers": [_numbers(one) for one in result.numbers]} if numbers else found


def _finding(one: WeightsFinding) -> Json:
    return {
        "kind": str(one.kind),
        "severity": str(one.severity),
        "tensor": one.tensor,
        "position": None if one.position is None else list(one.position),
        "count": one.count,
        "value": number(one.value),
        "limit": number(one.limit),
        "what": one.what,
        "why": one.why,
        "beside": list(one.beside),
    }


def _numbers(one: TensorNumbers) -> Json:
    return {
        "name": one.name,
        "dtype": one.dtype,
        "shape": list(one.shape),
        "elements": one.elements,
        "scanned": one.scanned,
        "nan": one.nan,
        "infinite": one.infinite,
        "zeros": one.zeros,
        "absmax": number(one.absmax),
        "rms": number(one.rms),
    }


# Reading


def weights_of(document: object) -> WeightsResult:
    """Return the record that a document was made of; the numbers of tensors are empty where it lacks them.

    Raises
    ------
    KeyError, TypeError, ValueError
        A part is missing or is not what was written.
    """
    found = read_table(document)
    return WeightsResult(
        path=read_text(found["path"]),
        unscanned=_text_or_empty(found["unscanned"]),
        expected_seconds=read_float(found["expected_seconds"]),
        tensors=read_count(found["tensors"]),
        tensors_scanned=read_count(found["tensors_scanned"]),
        elements=read_count(found["elements"]),
        elements_scanned=read_count(found["elements_scanned"]),
        bytes_total=read_count(found["bytes_total"]),
        bytes_scanned=read_count(found["bytes_scanned"]),
        sample=read_float(found["sample"]),
        match=read_texts(found["match"]),
        allow=read_texts(found["allow"]),
        left_out=read_count(found["left_out"]),
        skipped=tuple(_skipped_of(one) for one in read_list(found["skipped"])),
        findings=tuple(_finding_of(one) for one in read_list(found["findings"])),
        allowed=tuple(_finding_of(one) for one in read_list(found["allowed"])),
        notes=read_texts(found["notes"]),
        unread=read_texts(found["unread"]),
        kernel=_text_or_empty(found["kernel"]),
        seconds=0.0,
        absmax=read_float(found["absmax"]),
        numbers=tuple(_numbers_of(one) for one in read_list(found.get("numbers", []))),
    )


def _skipped_of(document: object) -> Skipped:
    one = read_table(document)
    return Skipped(what=read_text(one["what"]), reason=read_text(one["reason"]))


def _finding_of(document: object) -> WeightsFinding:
    one = read_table(document)
    position = one["position"]
    return WeightsFinding(
        kind=WeightsKind(one["kind"]),
        severity=Severity(one["severity"]),
        tensor=read_text(one["tensor"]),
        position=None if position is None else tuple(read_count(index) for index in read_list(position)),
        count=read_count(one["count"]),
        value=read_float(one["value"]),
        limit=read_float(one["limit"]),
        what=read_text(one["what"]),
        why=read_text(one["why"]),
        beside=read_texts(one["beside"]),
    )


def _numbers_of(document: object) -> TensorNumbers:
    one = read_table(document)
    return TensorNumbers(
        name=read_text(one["name"]),
        dtype=read_text(one["dtype"]),
        shape=tuple(read_count(length) for length in read_list(one["shape"])),
        elements=read_count(one["elements"]),
        scanned=read_count(one["scanned"]),
        nan=read_count(one["nan"]),
        infinite=read_count(one["infinite"]),
        zeros=read_count(one["zeros"]),
        absmax=read_float(one["absmax"]),
        rms=read_float(one["rms"]),
    )


def _text_or_empty(value: object) -> str:
    """What a record says with an empty text stands in JSON as null."""
    return "" if value is None else read_text(value)
