"""NaN and infinity: the one thing that fails, in whatever tensor it stands."""

import re
from collections.abc import Iterator

import numpy as np

from mhcdiag.results.health import Severity
from mhcdiag.results.weights import WeightsFinding, WeightsKind
from mhcdiag.weight_scan.roles import Scanned
from mhcdiag.weight_scan.rules.interface import Rule, Subject, finding, values_of

_MASK = re.compile(r"mask|causal|bias$")
_LARGEST_MASK = 1 << 26
"""Values up to which a mask is read again to see whether it is one: 8192 x 8192."""

_WHY = "whatever this tensor takes part in gives NaN or infinity, in every forward pass that reaches it"


def _find(subject: Subject) -> Iterator[WeightsFinding]:
    for one in (*subject.scanned, *subject.beside):
        summary = one.summary
        if summary.nan:
            yield _finding(one, WeightsKind.NAN, "NaN", summary.nan, summary.first_nan)
        if summary.infinite:
            mask = _is_mask(one)
            yield _finding(one, WeightsKind.INFINITE, "infinite", summary.infinite, summary.first_infinite, mask=mask)


def _finding(
    one: Scanned, kind: WeightsKind, word: str, count: int, first: tuple[int, ...] | None, *, mask: bool = False
) -> WeightsFinding:
    # The best loss so far is infinite before the first one, and trainers save it as a tensor beside the model.
    is_score = not one.part.is_models and one.summary.elements == 1
    verb = "is" if count == 1 else "are"
    place = f", {'' if count == 1 else 'the first '}at {list(first)}" if first else ""
    what = f"{count:,} of {one.summary.scanned:,} values {verb} {word}{place} (limit 0)"
    return finding(
        one,
        kind,
        Severity.NOTE if mask or is_score else Severity.FAIL,
        what=f"{what}: a mask" if mask else f"{what}: one number beside the model" if is_score else what,
        why="minus infinity in a mask keeps tokens from being looked at" if mask else _WHY,
        value=float(count),
        limit=0.0,
        count=count,
        position=first,
    )


def _is_mask(one: Scanned) -> bool:
    """Whether a tensor of zeros and minus infinity is a mask by name, or by the triangle that it forms."""
    summary = one.summary
    shape = summary.stream.shape
    only_negative = summary.negative == summary.infinite and not summary.nan and summary.absmax == 0
    if not only_negative or not summary.is_matrix or summary.zeros == 0 or summary.elements > _LARGEST_MASK:
        return False
    if summary.scanned != summary.elements or not _MASK.search(one.part.tensor):
        return False
    if "mask" in one.part.tensor:
        return True
    if len(shape) < 2 or shape[-1] != shape[-2]:
        return False
    hidden = np.isinf(values_of(one)).reshape(-1, *shape[-2:])
    return bool((hidden == np.triu(np.ones(shape[-2:], dtype=bool), k=1)).all())


NONFINITE = Rule(kinds=(WeightsKind.NAN, WeightsKind.INFINITE), find=_find)
