"""Values that an element type cannot hold: cut off at its largest number, or so small that it loses their bits."""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mhcdiag.results.health import Severity
from mhcdiag.results.weights import WeightsFinding, WeightsKind
from mhcdiag.weight_scan.codings import CODINGS
from mhcdiag.weight_scan.roles import Scanned
from mhcdiag.weight_scan.rules.interface import Rule, Subject, finding

MOSTLY = 0.5
"""Share of the values that are not zero. Of weights with deviation 0.02 float16 holds 0.2 % below full precision."""
FEWEST = 64
"""Values of a matrix below which a share says nothing."""

_SCALES = ("_scale", "_scale_inv", ".scale", ".scales", "_scales", ".scale_inv", "scale_weight")
_NAMES = {"float16": "F16", "half": "F16", "bfloat16": "BF16", "float32": "F32"}
_MASK = re.compile(r"mask|running_")

_SATURATED = "values beyond it were probably cut off when the checkpoint was written"
_OVERFLOW = "loaded as the configuration says, they become infinite"
_FLUSH = "most of the tensor's precision is lost, and what is smaller still becomes zero"


def smallest_of(config: Mapping[str, Any]) -> Callable[[str], float]:
    """What is the smallest value that counts for an element type, where small values are to be counted.

    Values below the smallest normal number of float16 or an 8-bit float keep fewer bits the smaller they are. Wider
    types lose nothing, unless the configuration says that they are loaded as float16: below 2^-25 that rounds to zero.
    """
    as_half = _loaded_as(config) == "F16"

    def smallest(dtype: str) -> float:
        if dtype in ("F16", "F8_E4M3", "F8_E5M2"):
            return CODINGS[dtype].smallest_normal
        return math.ldexp(1.0, -25) if as_half and dtype in ("BF16", "F32", "F64") else 0.0

    return smallest


def _loaded_as(config: Mapping[str, Any]) -> str:
    """Element type that the configuration names, in the spelling of safetensors; empty where it names none."""
    inner = config.get("text_config")
    for fields in (config, inner if isinstance(inner, Mapping) else {}):
        for key in ("dtype", "torch_dtype"):
            if isinstance(fields.get(key), str):
                return _NAMES.get(fields[key].removeprefix("torch."), "")
    return ""


def _find(subject: Subject) -> Iterator[WeightsFinding]:
    loaded = CODINGS.get(_loaded_as(subject.config))
    for one in subject.scanned:
        summary = one.summary
        coding = CODINGS[summary.stream.dtype]
        if not coding.exponent or _MASK.search(one.part.tensor) or not summary.scanned:
            continue
        if summary.absmax == coding.largest and not _is_scaled(subject, one):
            what = f"values stand at {coding.largest:.4g}, the largest that {summary.stream.dtype} holds"
            yield finding(
                one, WeightsKind.SATURATED, Severity.WARN, what=what, why=_SATURATED,
                value=summary.absmax, limit=coding.largest,
            )  # fmt: skip
        if loaded is not None and loaded.largest < coding.largest and summary.absmax > loaded.largest:
            what = f"the largest absolute value is {summary.absmax:.4g} (limit {loaded.largest:.5g}, what "
            what += f"{_loaded_as(subject.config)} holds, the element type that the configuration names)"
            yield finding(
                one, WeightsKind.OVERFLOW, Severity.WARN, what=what, why=_OVERFLOW,
                value=summary.absmax, limit=loaded.largest,
            )  # fmt: skip
        yield from _flushed(subject, one)


def _flushed(subject: Subject, one: Scanned) -> Iterator[WeightsFinding]:
    if not one.summary.is_matrix or one.summary.scanned < FEWEST or not _is_flushed(one):
        return
    family, dtype = subject.family(one), one.summary.stream.dtype
    usual = bool(family.others(one)) and family.is_usual(one, _is_flushed)
    if usual and one is not family.members[0]:
        return  # one note for a role is enough
    share, limit = _share(one), smallest_of(subject.config)(dtype)
    what = f"{share:.0%} of the values that are not zero are below {limit:.3g}, where {dtype} loses bits "
    what += f"(limit {MOSTLY:.0%}){'; so in most layers' if usual else ''}"
    yield finding(
        one, WeightsKind.FLUSH, Severity.NOTE if usual else Severity.WARN, what=what, why=_FLUSH,
        value=share, limit=MOSTLY, beside=family.some_others(one),
    )  # fmt: skip


def _share(one: Scanned) -> float:
    present = one.summary.scanned - one.summary.zeros
    return one.summary.small / present if present else 0.0


def _is_flushed(one: Scanned) -> bool:
    return _share(one) > MOSTLY


def _is_scaled(subject: Subject, one: Scanned) -> bool:
    """Whether a tensor of scales stands beside it: then its largest value is the type's largest by construction."""
    if not one.summary.stream.dtype.startswith("F8"):
        return False
    stem = one.part.tensor.removesuffix(".weight")
    return any(f"{name}{ending}" in subject.tensors for name in (one.part.tensor, stem) for ending in _SCALES)


PRECISION = Rule(kinds=(WeightsKind.SATURATED, WeightsKind.OVERFLOW, WeightsKind.FLUSH), find=_find)
