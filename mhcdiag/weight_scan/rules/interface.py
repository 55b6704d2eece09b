"""What a rule is: one kind of thing that may be wrong with weights, and how it is found in what a scan measured.

A file of `rules/` holds one `Rule`, which the tuple `RULES` in `rules/__init__.py` lists. It

* finds things in summaries, and reads values again only of the few tensors that it suspects;
* says NaN and infinity are a failure and nothing else is: other findings are warnings, with the number, the limit, and
  why it matters; what is so in most layers is how the model is made, and at most a note;
* has its thresholds as constants with the reason for their value; `docs/weights.md` lists them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mhcdiag.namedtensors import TensorInfo
from mhcdiag.results.health import Severity
from mhcdiag.results.weights import WeightsFinding, WeightsKind
from mhcdiag.weight_scan.codings import CODINGS, Floats
from mhcdiag.weight_scan.roles import Family, Scanned, families
from mhcdiag.weight_scan.scanning import PIECE, pieces


@dataclass(frozen=True, kw_only=True)
class Subject:
    """All that rules look at."""

    scanned: Sequence[Scanned]
    """The model's tensors, in the order of the checkpoint."""
    beside: Sequence[Scanned]
    """Tensors beside the model: the state of an optimizer, averages. Only NaN and infinity are looked for there."""
    tensors: Mapping[str, TensorInfo]
    """All tensors of the checkpoint, those among them that were not looked at."""
    config: Mapping[str, Any]
    """What `config.json` says; empty without one."""
    is_sample: bool
    """Whether only a share of the values was looked at."""

    @cached_property
    def families(self) -> Mapping[str, Family]:
        """Parts by role."""
        return families(self.scanned)

    def family(self, one: Scanned) -> Family:
        """All parts of the same role."""
        return self.families[one.role]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One thing that may be wrong."""

    kinds: tuple[WeightsKind, ...]
    """What it finds."""
    find: Callable[[Subject], Iterator[WeightsFinding]]
    """Yields findings in any order."""


def finding(
    one: Scanned,
    kind: WeightsKind,
    severity: Severity,
    *,
    what: str,
    why: str,
    value: float,
    limit: float,
    count: int = 1,
    position: tuple[int, ...] | None = None,
    beside: Sequence[Scanned] = (),
) -> WeightsFinding:
    """Return a finding about one part.

    Parameters
    ----------
    what
        A clause without the name of the tensor, which is put before it.
    position
        Within the part; the number of the expert is put before it.
    """
    index = one.part.index
    if position is not None or index:
        position = (*index, *(position or ()))
    return WeightsFinding(
        kind=kind,
        severity=severity,
        tensor=one.part.tensor,
        position=position,
        count=count,
        value=value,
        limit=limit,
        what=f"{one.name}: {what}",
        why=why,
        beside=tuple(other.name for other in beside),
    )


def values_of(one: Scanned) -> Floats:
    """All values of a small part, in its shape.

    Raises
    ------
    mhcdiag.errors.MhcdiagError
        They cannot be read.
    """
    stream = one.summary.stream
    found = np.zeros(stream.shape)
    buffer = memoryview(bytearray(PIECE))
    for block, first, count in pieces(stream):
        part = np.zeros(block.shape)
        place = tuple(slice(offset, offset + size) for offset, size in zip(block.offsets, block.shape, strict=True))
        if first or count < part.size:
            part[...] = found[place]
        part.reshape(-1)[first : first + count] = CODINGS[stream.dtype].decode(block.read(first, count, buffer))
        found[place] = part
    return found
