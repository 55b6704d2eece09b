"""Routers of experts: rows that point one way, that do nothing, or that drown the others."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mhcdiag.errors import MhcdiagError
from mhcdiag.results.health import Severity
from mhcdiag.results.weights import WeightsFinding, WeightsKind
from mhcdiag.results.wording import counted
from mhcdiag.weight_scan.codings import Floats
from mhcdiag.weight_scan.roles import Scanned
from mhcdiag.weight_scan.rules.interface import Rule, Subject, finding, values_of

COLLINEAR = 0.99
"""Cosine of two rows. Of fresh ones it stays below 6 / sqrt(width); rows of trained routers share a direction, up to
0.9."""
DEAD = 0.01
"""Length of a row over that of the longest: its score hardly moves beside theirs."""
EXPLODING = 20.0
"""Length of a row over the median: the softmax belongs to it wherever its score is positive."""
NARROWEST = 16
"""Width below which rows are parallel by chance."""
MOST_VALUES = 1 << 26

# Mixtral, DeepSeek, Qwen ("gate"), GPT-OSS, Llama 4, Megatron-LM, Switch, DBRX ("router"), llama.cpp ("ffn_gate_inp").
_ROUTER = re.compile(r"(?:^|[._])(?:router|gate|ffn_gate_inp|wg)(?:\.(?:classifier|layer|wg|linear))?\.weight$")
_EXPERTS = re.compile(r"[._](?:local_)?(?:experts|ffn_\w+_exps)\b")
_SHARED = re.compile(r"shared")
_COUNTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts", "num_moe_experts", "expert_count")

_COLLINEAR = "their experts get the same score for every token up to a factor: they are chosen together, or not at all"
_DEAD = "the expert's score does not depend on the token: it is chosen always or never"
_EXPLODING = "one expert takes all tokens that it likes and the others starve; its gradient vanishes"


def _find(subject: Subject) -> Iterator[WeightsFinding]:
    counts = set(_expert_counts(subject.config))
    beside = _experts_by_block(subject)
    for one in subject.scanned:
        if not _is_router(one, subject) or one.summary.stream.shape[0] not in {*counts, beside.get(_block_of(one), 0)}:
            continue
        try:
            rows = values_of(one).reshape(one.summary.stream.shape[0], -1)
        except MhcdiagError:
            continue  # it was read a moment ago: a file that goes away is told of by the next read
        lengths = np.sqrt(np.square(rows).sum(axis=1))
        yield from _lengths(one, lengths)
        yield from _directions(one, rows, lengths)


def _expert_counts(config: Mapping[str, Any]) -> Iterator[int]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _expert_counts(value)
        elif key in _COUNTS and isinstance(value, int):
            yield value


def _is_router(one: Scanned, subject: Subject) -> bool:
    shape = one.summary.stream.shape
    if not _ROUTER.search(one.bare) or _SHARED.search(one.part.tensor) or len(shape) < 2 or shape[0] < 2:
        return False
    is_small = one.summary.elements <= MOST_VALUES and one.summary.scanned == one.summary.elements
    return one.summary.is_finite and not one.summary.is_zero and is_small and not subject.is_sample


def _block_of(router: Scanned) -> str:
    """The module that a router stands in: `model.layers.3.mlp`."""
    match = _ROUTER.search(router.bare)
    return router.bare[: match.start()] if match else ""


def _experts_by_block(subject: Subject) -> dict[str, int]:
    """Number of experts in each module that has some."""
    found: dict[str, int] = {}
    for one in subject.scanned:
        if one.expert is not None and (place := _EXPERTS.search(one.part.tensor)):
            block = one.part.tensor[: place.start()]
            found[block] = max(found.get(block, 0), one.expert + 1)
    return found


def _lengths(one: Scanned, lengths: Floats) -> Iterator[WeightsFinding]:
    longest, median = float(lengths.max()), float(np.median(lengths))
    dead = np.flatnonzero(lengths < DEAD * longest)
    if len(dead):
        shortest = float(lengths.min()) / longest
        verb = "is" if len(dead) == 1 else "are"
        what = f"{len(dead)} of {counted(len(lengths), 'router row')}, the first {dead[0]}, "
        what += f"{verb} {shortest:.2g} times as long as the longest (limit {DEAD:g})"
        yield finding(
            one, WeightsKind.ROUTER_DEAD, Severity.WARN, what=what, why=_DEAD, value=shortest, limit=DEAD,
            count=len(dead), position=(int(dead[0]),),
        )  # fmt: skip
    if median > 0 and longest > EXPLODING * median:
        at = int(lengths.argmax())
        what = f"router row {at} is {longest / median:.3g} times as long as the median (limit {EXPLODING:g})"
        yield finding(
            one, WeightsKind.ROUTER_EXPLODING, Severity.WARN, what=what, why=_EXPLODING,
            value=longest / median, limit=EXPLODING, count=int((lengths > EXPLODING * median).sum()), position=(at,),
        )  # fmt: skip


def _directions(one: Scanned, rows: Floats, lengths: Floats) -> Iterator[WeightsFinding]:
    alive = np.flatnonzero(lengths >= DEAD * lengths.max())
    if rows.shape[1] < NARROWEST or len(alive) < 2:
        return
    directions = rows[alive] / lengths[alive, None]
    cosines = directions @ directions.T
    np.fill_diagonal(cosines, -1.0)
    parallel = np.flatnonzero(cosines.max(axis=1) > COLLINEAR)
    if not len(parallel):
        return
    first = int(parallel[0])
    other = int(cosines[first].argmax())
    what = (
        f"{len(parallel)} of {len(lengths)} router rows point in one direction: rows {alive[first]} and {alive[other]} "
    )
    what += f"have cosine {cosines[first, other]:.4f} (limit {COLLINEAR:g})"
    yield finding(
        one, WeightsKind.ROUTER_COLLINEAR, Severity.WARN, what=what, why=_COLLINEAR,
        value=float(cosines.max()), limit=COLLINEAR, count=len(parallel), position=(int(alive[first]),),
    )  # fmt: skip


ROUTERS = Rule(
    kinds=(WeightsKind.ROUTER_COLLINEAR, WeightsKind.ROUTER_DEAD, WeightsKind.ROUTER_EXPLODING), find=_find
)  # fmt: skip
