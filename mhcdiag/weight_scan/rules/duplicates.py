"""Matrices that equal another byte by byte: experts and layers that were copied and never trained apart."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from mhcdiag.results.health import Severity
from mhcdiag.results.weights import WeightsFinding, WeightsKind
from mhcdiag.weight_scan.roles import Family, Scanned
from mhcdiag.weight_scan.rules.interface import Rule, Subject, finding
from mhcdiag.weight_scan.scanning import PIECE, pieces

FEWEST = 64
"""Values below which two tensors may be equal by chance, as the scales of quantised blocks are."""

_WHY = "two copies do the work of one: they were never trained apart, or one was written over the other"
_TIE = "tied weights are stored twice"


def _find(subject: Subject) -> Iterator[WeightsFinding]:
    groups = _equal(subject.scanned)
    copied = Counter(role for group in groups for role in _roles_with_several(group))
    for group in groups:
        first = group[0]
        for one in group[1:]:
            if one.part.index == first.part.index and one.bare == first.bare:
                continue  # two ranks, or the first and the last stage, saved the same tensor
            if one.role == first.role:
                yield from _same_role(subject.family(one), one, first, copied[one.role])
            else:
                yield from _other_role(subject, one, first, groups)


def _roles_with_several(group: Sequence[Scanned]) -> Iterator[str]:
    """The role of every member that has a twin of its own role."""
    roles = Counter(one.role for one in group)
    return (role for role, count in roles.items() if count > 1 for _ in range(count))


def _same_role(family: Family, one: Scanned, first: Scanned, copied: int) -> Iterator[WeightsFinding]:
    if 2 * copied > len(family.members):
        return  # most layers or experts are copies: a model that was just made larger
    what = f"equals {first.name} byte by byte ({one.summary.elements:,} values); "
    what += f"{copied} of {len(family.members)} of its role have a copy (limit half of them)"
    yield _found(one, first, Severity.WARN, what, _WHY)


def _other_role(
    subject: Subject, one: Scanned, first: Scanned, groups: Sequence[Sequence[Scanned]]
) -> Iterator[WeightsFinding]:
    """A tie where it is so in all layers, or there are no layers; else one matrix that was written over another."""
    family = subject.family(one)
    alike = sum({one.role, first.role} <= {member.role for member in group} for group in groups)
    if len(family.members) > 1 and 2 * alike <= len(family.members):
        what = f"equals {first.name} byte by byte, which is so in {alike} of {len(family.members)} layers "
        yield _found(one, first, Severity.WARN, f"{what}(limit half of them)", _WHY)
    elif one is family.members[0]:  # one note for a role is enough
        memory = one.summary.stream.memory
        tied = memory is not None and memory == first.summary.stream.memory
        what = f"equals {first.name}{', in one memory' if tied else ' byte by byte'}"
        yield _found(one, first, Severity.NOTE, what, _TIE)


def _found(one: Scanned, first: Scanned, severity: Severity, what: str, why: str) -> WeightsFinding:
    return finding(
        one, WeightsKind.DUPLICATE, severity, what=what, why=why, value=2.0, limit=1.0, count=2, beside=[first]
    )


def _equal(scanned: Sequence[Scanned]) -> list[list[Scanned]]:
    """Groups of matrices with equal bytes: found by their sums, and then read again."""
    candidates: dict[bytes, list[Scanned]] = defaultdict(list)
    for one in scanned:
        summary = one.summary
        is_flat = bool(summary.absmax) and abs(summary.rms / summary.absmax - 1) < 1e-4
        if summary.sketch and summary.is_matrix and not is_flat and summary.elements >= FEWEST:
            candidates[summary.sketch].append(one)
    groups = []
    for alike in candidates.values():
        left = alike
        while len(left) > 1:
            first, *rest = left
            same = {id(one) for one in rest if _same_bytes(first, one)}
            if same:
                groups.append([first, *(one for one in rest if id(one) in same)])
            left = [one for one in rest if id(one) not in same]
    return groups


def _same_bytes(one: Scanned, other: Scanned) -> bool:
    mine, theirs = one.summary.stream, other.summary.stream
    if mine.memory is not None and mine.memory == theirs.memory:
        return True
    spans = [[(block.offsets, first, count) for block, first, count in pieces(stream)] for stream in (mine, theirs)]
    if spans[0] != spans[1]:
        return False  # cut into other chunks: that they are equal cannot be said this way
    first_buffer, second_buffer = memoryview(bytearray(PIECE)), memoryview(bytearray(PIECE))
    for (block, first, count), (other_block, _, _) in zip(pieces(mine), pieces(theirs), strict=True):
        if not np.array_equal(block.read(first, count, first_buffer), other_block.read(first, count, second_buffer)):
            return False
    return True


DUPLICATES = Rule(kinds=(WeightsKind.DUPLICATE,), find=_find)
