"""Rows and columns: dead where other layers have none, or far larger than the rest of their tensor and their family."""

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mhcdiag.results.health import Severity
from mhcdiag.results.weights import WeightsFinding, WeightsKind
from mhcdiag.results.wording import counted
from mhcdiag.weight_scan.codings import WHOLE_NUMBERS
from mhcdiag.weight_scan.roles import Family, Scanned
from mhcdiag.weight_scan.rules.interface import Rule, Subject, finding
from mhcdiag.weight_scan.tally import Lines

FAR = 30.0
"""A row this many times the median row. In trained language models the largest rows of queries and keys reach about 10
(rotary dimensions that carry positions), and they do in all layers."""
FAR_OF_FAMILY = 5.0
"""And this many times the ratio that is usual in the other layers: what all layers share is how the model works."""
FAR_ALONE = 10_000.0
"""Where no other layer has the tensor there is only the tensor itself to judge by. RWKV starts its embeddings at 1e-4,
and those of frequent tokens are a thousand times the others after some steps."""
FEWEST = 8
"""Rows below which a median says nothing."""

_DEAD = "nothing gets through them: the width, the head or the neuron that they stand for is lost"
_OUTLIER = "one direction drowns the others, and overflows first in 16 and 8 bits"


def _rows(one: Scanned) -> Lines | None:
    return one.summary.rows


def _columns(one: Scanned) -> Lines | None:
    return one.summary.columns


@dataclass(frozen=True, kw_only=True, slots=True)
class _Way:
    """Rows or columns."""

    word: str
    dead: WeightsKind
    outliers: WeightsKind
    lines: Callable[[Scanned], Lines | None]
    has_dead: Callable[[Scanned], bool]
    ratio: Callable[[Scanned], float]
    """The largest row over the median one; 0 where that says nothing."""


def _has_dead(lines: Lines | None) -> bool:
    return lines is not None and lines.dead > 0


def _ratio(lines: Lines | None) -> float:
    if lines is None or lines.count < FEWEST or lines.median == 0:
        return 0.0
    return lines.largest / lines.median


_WAYS = (
    _Way(
        word="row", dead=WeightsKind.DEAD_ROWS, outliers=WeightsKind.OUTLIER_ROWS, lines=_rows,
        has_dead=lambda one: _has_dead(one.summary.rows), ratio=lambda one: _ratio(one.summary.rows),
    ),
    _Way(
        word="column", dead=WeightsKind.DEAD_COLUMNS, outliers=WeightsKind.OUTLIER_COLUMNS, lines=_columns,
        has_dead=lambda one: _has_dead(one.summary.columns), ratio=lambda one: _ratio(one.summary.columns),
    ),
)  # fmt: skip


def _find(subject: Subject) -> Iterator[WeightsFinding]:
    for one in subject.scanned:
        summary = one.summary
        is_odd = summary.is_zero or not summary.is_finite  # which says enough
        if not summary.is_matrix or is_odd or summary.stream.dtype in WHOLE_NUMBERS:
            continue
        for way in _WAYS:
            # A column of a sample is only known where rows were read; one of zeros may be none.
            if not subject.is_sample or summary.scanned == summary.elements:
                yield from _dead(subject.family(one), one, way)
            yield from _outliers(subject.family(one), one, way)


def _dead(family: Family, one: Scanned, way: _Way) -> Iterator[WeightsFinding]:
    lines, others = way.lines(one), family.others(one)
    if lines is None or not lines.dead or (others and family.is_usual(one, way.has_dead)):
        return  # in most layers: padding, pruning or a mask
    verb = "is" if lines.dead == 1 else "are"
    what = f"{lines.dead:,} of {counted(lines.count, way.word)} {verb} all zero, the first {lines.first_dead:,}; "
    if others:
        having = family.alike(one, way.has_dead)
        what += f"{having} of {others} others of its role have any (limit half of them)"
    else:
        what += "no other layer has this tensor: padding, or tokens that never came up"
    yield finding(
        one, way.dead, Severity.WARN if others else Severity.NOTE, what=what, why=_DEAD, value=float(lines.dead),
        limit=0.0, count=lines.dead, position=(lines.first_dead,), beside=family.some_others(one),
    )  # fmt: skip


def _outliers(family: Family, one: Scanned, way: _Way) -> Iterator[WeightsFinding]:
    lines, ratio = way.lines(one), way.ratio(one)
    if lines is None or ratio <= FAR:
        return
    known = family.sizes(one, way.ratio)
    limit = max(FAR, FAR_OF_FAMILY * statistics.median(known)) if known else FAR_ALONE
    if ratio <= limit:
        return
    what = f"{way.word} {lines.largest_at:,} has RMS {lines.largest:.4g}, "
    what += f"{ratio:.3g} times the median {way.word} (limit {limit:.3g})"
    yield finding(
        one, way.outliers, Severity.WARN, what=what, why=_OUTLIER, value=ratio, limit=limit,
        position=(lines.largest_at,), beside=family.some_others(one),
    )  # fmt: skip


LINES = Rule(
    kinds=(
        WeightsKind.DEAD_ROWS, WeightsKind.DEAD_COLUMNS, WeightsKind.OUTLIER_ROWS, WeightsKind.OUTLIER_COLUMNS,
    ),
    find=_find,
)  # fmt: skip
