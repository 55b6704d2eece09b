"""Whole tensors that are far larger or smaller than the same tensor of all other layers, or than anything should be."""

import re
import statistics
from collections.abc import Iterator

from mhcdiag.results.health import Severity
from mhcdiag.results.weights import WeightsFinding, WeightsKind
from mhcdiag.weight_scan.codings import WHOLE_NUMBERS
from mhcdiag.weight_scan.roles import Family, Scanned
from mhcdiag.weight_scan.rules.interface import Rule, Subject, finding

FAR = 30.0
"""Times the median of the other layers, up or down. Depth-scaled starts give sqrt(2 L), 15 for 120 layers, and only
from one end of the model to the other."""
WIDEST_FAMILY = 10.0
"""The other layers must lie within this factor of each other: a family that varies more has no usual size."""
FEWEST_OTHERS = 2
LARGEST = 1e6
"""An absolute value above this is no weight: those of released models stay below 1000, buffers of masks aside."""

_STATISTIC = re.compile(r"running_|mask|num_batches|timestep|freq")

_WHY = "the layer drowns the others, or does nothing beside them; a wrong unit, a lost scale or a flipped bit"


def _find(subject: Subject) -> Iterator[WeightsFinding]:
    for one in subject.scanned:
        summary = one.summary
        if summary.stream.dtype in WHOLE_NUMBERS or summary.is_zero or not summary.scanned or not summary.is_finite:
            continue
        if summary.absmax > LARGEST and not _STATISTIC.search(one.part.tensor):
            what = f"the largest absolute value is {summary.absmax:.4g} (limit {LARGEST:g})"
            yield finding(
                one, WeightsKind.SCALE, Severity.WARN, what=what, why=_WHY, value=summary.absmax, limit=LARGEST
            )
            continue
        if summary.is_matrix:
            yield from _beside_others(subject.family(one), one)


def _rms(one: Scanned) -> float:
    return one.summary.rms


def _beside_others(family: Family, one: Scanned) -> Iterator[WeightsFinding]:
    sizes = [size for size in family.sizes(one, _rms) if size > 0]
    if len(sizes) < FEWEST_OTHERS or sizes[-1] > WIDEST_FAMILY * sizes[0]:
        return
    usual = statistics.median(sizes)
    ratio = one.summary.rms / usual
    if 1 / FAR <= ratio <= FAR:
        return
    limit = FAR if ratio > FAR else 1 / FAR
    what = f"RMS {one.summary.rms:.4g} is {ratio:.3g} times the {usual:.4g} of the other layers (limit {limit:.3g})"
    yield finding(
        one, WeightsKind.SCALE, Severity.WARN, what=what, why=_WHY, value=ratio, limit=limit,
        beside=family.some_others(one),
    )  # fmt: skip


SCALE = Rule(kinds=(WeightsKind.SCALE,), find=_find)
