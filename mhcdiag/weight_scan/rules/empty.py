"""Matrices that are all zero, or all one value, where the same matrix of other layers is not."""

import re
import statistics
from collections.abc import Iterator

import numpy as np

from mhcdiag.results.health import Severity
from mhcdiag.results.weights import WeightsFinding, WeightsKind
from mhcdiag.weight_scan.codings import CODINGS, WHOLE_NUMBERS
from mhcdiag.weight_scan.roles import Family, Scanned
from mhcdiag.weight_scan.rules.interface import Rule, Subject, finding
from mhcdiag.weight_scan.scanning import PIECE, pieces

# Nothing starts these at zero: positions, heads and output projections some recipes do (ViT, nanochat, muP).
_TOKENS = re.compile(r"(?:embed_tokens|wte|word_embeddings|tok_embeddings|token_embd|embed_in|shared)\.weight$")
_NORM = re.compile(r"norm|ln_?\w*\.weight$")

_ZERO = "what it is multiplied with is lost: the layer computes as if it were not there"
_CONSTANT = "all its outputs are the same number, so that it tells nothing apart"


def _find(subject: Subject) -> Iterator[WeightsFinding]:
    for one in subject.scanned:
        family = subject.family(one)
        if one.summary.is_zero:
            yield from _zero(family, one)
        elif _may_be_constant(one) and not (family.others(one) and family.is_usual(one, _may_be_constant)):
            yield from _constant(family, one)


def _is_zero(one: Scanned) -> bool:
    return one.summary.is_zero


def _zeros(one: Scanned) -> float:
    return one.summary.zeros / one.summary.scanned


def _zero(family: Family, one: Scanned) -> Iterator[WeightsFinding]:
    """Of matrices, and of norm weights; biases that are zero are how models begin."""
    is_norm = bool(_NORM.search(one.part.tensor)) and one.part.tensor.endswith("weight")
    others = family.others(one)
    if not (one.summary.is_matrix or is_norm) or (others and family.is_usual(one, _is_zero)):
        return
    if not others and one.summary.stream.dtype in WHOLE_NUMBERS:
        return  # an index, a mask: nothing says that it should hold anything else
    expert = "" if one.expert is None else f" of expert {one.expert}"
    what = f"all {one.summary.scanned:,} values{expert} are zero; "
    severity = Severity.WARN
    if others:
        what += f"so are {family.alike(one, _is_zero)} of {others} others of its role (limit half of them)"
    else:
        severity = Severity.WARN if _TOKENS.search(one.part.tensor) else Severity.NOTE
        what += "no other layer has this tensor"
    usual = statistics.median(family.sizes(one, _zeros)) if others else 0.0
    yield finding(
        one, WeightsKind.ZERO, severity, what=what, why=_ZERO, value=1.0, limit=usual, beside=family.some_others(one)
    )


def _constant(family: Family, one: Scanned) -> Iterator[WeightsFinding]:
    others = family.others(one)
    if not (others or _TOKENS.search(one.part.tensor)) or not is_constant(one):
        return
    what = f"all {one.summary.scanned:,} values are equal, {one.summary.absmax:.4g} without their sign"
    if others:
        what += f"; so are {family.alike(one, _may_be_constant)} of {others} others of its role (limit half of them)"
    yield finding(
        one, WeightsKind.CONSTANT, Severity.WARN, what=what, why=_CONSTANT, value=1.0, limit=2.0,
        beside=family.some_others(one),
    )  # fmt: skip


def _may_be_constant(one: Scanned) -> bool:
    """Whether all absolute values may be equal: the root of their mean square is the largest then."""
    summary = one.summary
    if not summary.is_matrix or not summary.is_finite or not summary.absmax or summary.zeros:
        return False
    return abs(summary.rms / summary.absmax - 1) < 1e-4


def is_constant(one: Scanned) -> bool:
    """Whether all values are equal, signs included; read again."""
    stream = one.summary.stream
    buffer = memoryview(bytearray(PIECE))
    first_value = None
    for block, first, count in pieces(stream):
        values = CODINGS[stream.dtype].decode(block.read(first, count, buffer))
        first_value = values[0] if first_value is None else first_value
        if np.any(values != first_value):
            return False
    return first_value is not None


EMPTY = Rule(kinds=(WeightsKind.ZERO, WeightsKind.CONSTANT), find=_find)
