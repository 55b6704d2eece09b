"""Logs of one folder that are the same run, written twice: what W&B keeps, and what the console showed."""

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from mhcdiag.errors import MhcdiagError
from mhcdiag.policies.gates import gates_for
from mhcdiag.policies.policy import PolicyGate
from mhcdiag.results.check import CheckedInput, Family
from mhcdiag.results.spikes import LogResult
from mhcdiag.results.verdict import Verdict
from mhcdiag.usecases.log_judging import LOSS, carries, read_table
from mhcdiag.usecases.options import LogOptions

Item = TypeVar("Item")

LEAST = 10
"""Common steps without which two logs are not called the same run."""
SHARE = 0.9
"""Of the steps of the shorter log, how many the other one must have."""
DECIMALS = 2
"""Decimals of the coarser log below which equal losses say nothing: late in training many runs agree to 0.1."""
MOST_DECIMALS = 7
SINGLE = 2.0**-23
"""Relative rounding of what TensorBoard stores."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LossCurve:
    """Losses of a log by step, the last one of each step."""

    step: NDArray[np.float64]
    """Ascending."""
    loss: NDArray[np.float64]
    """NaN where the run made it so."""
    decimals: int
    """Decimals with which they were written, 7 at most."""


def loss_curve(path: str, options: LogOptions) -> LossCurve:
    """Read the losses of a log.

    Raises
    ------
    LogError
        It cannot be read.
    """
    table = read_table(path, options)
    rows = np.flatnonzero(carries(table, LOSS)) if LOSS in table.columns else np.empty(0, dtype=np.int64)
    step, last = np.unique(table.step[rows].astype(np.float64)[::-1], return_index=True)
    loss = table.columns[LOSS][rows][::-1][last] if len(rows) else np.empty(0)
    known = loss[np.isfinite(loss)]
    exact = (n for n in range(MOST_DECIMALS) if np.allclose(np.round(known, n), known, rtol=SINGLE, atol=0))
    return LossCurve(step=step, loss=loss, decimals=next(exact, MOST_DECIMALS))


def same_run(one: LossCurve, other: LossCurve) -> bool:
    """Say whether two logs are of the same run: equal losses, up to what was printed of them, at equal steps."""
    _, mine, theirs = np.intersect1d(one.step, other.step, assume_unique=True, return_indices=True)
    if len(mine) < max(LEAST, SHARE * min(len(one.step), len(other.step))):
        return False
    decimals = min(one.decimals, other.decimals)
    a, b = one.loss[mine], other.loss[theirs]
    if decimals < DECIMALS or len(np.unique(a[np.isfinite(a)])) < LEAST // 2:
        return False
    near = 0.51 * 10.0**-decimals + 2 * SINGLE * np.abs(a)
    with np.errstate(invalid="ignore"):
        return bool(np.all((np.abs(a - b) <= near) | (np.isnan(a) & np.isnan(b)) | (a == b)))


def groups_of_copies(results: Sequence[LogResult], curve: Callable[[str], LossCurve]) -> list[list[int]]:
    """Return which results are of the same run, as lists of two or more indices.

    Parameters
    ----------
    results
        Of the logs of one folder.
    curve
        Reads the losses of a log; asked only for logs whose results could be of one run.
    """

    @cache
    def known(path: str) -> LossCurve | None:
        try:
            return curve(path)
        except MhcdiagError:
            return None

    groups: list[list[int]] = []
    for index, result in enumerate(results):
        for group in groups:
            first = results[group[0]]
            if not _could_be(first, result):
                continue
            one, other = known(first.path), known(result.path)
            if one is not None and other is not None and same_run(one, other):
                group.append(index)
                break
        else:
            groups.append([index])
    return [group for group in groups if len(group) > 1]


def _could_be(one: LogResult, other: LogResult) -> bool:
    """Say whether a closer look is worth it: the steps overlap."""
    spans = [(log.runs[0].first_step, max(run.last_step for run in log.runs)) for log in (one, other) if log.runs]
    return len(spans) == 2 and spans[0][0] <= spans[1][1] and spans[1][0] <= spans[0][1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged(Generic[Item]):
    """How to look at something that holds the result of a log."""

    result: Callable[[Item], LogResult | None]
    """Its result; None where there is none, or where it is judged whatever else there is."""
    verdict: Callable[[Item], Verdict]
    """Its verdict."""
    told: Callable[[Item, LogResult], Item]
    """The same with another result."""
    alike: Callable[[Item, Item], bool]
    """Whether two are held against the same limits."""


def counted_once(items: Sequence[Item], look: Judged[Item], curve: Callable[[str], LossCurve]) -> list[Item]:
    """Leave out all but one log of each run, and say so in a note of that one.

    Of copies one that failed counts, so that nothing can be hidden, else the fullest.

    Parameters
    ----------
    items
        Judged logs among others.
    look
        How to look at them.
    curve
        As for `groups_of_copies`.
    """
    logs = [(at, result) for at, item in enumerate(items) if (result := look.result(item)) is not None]
    found = dict(enumerate(items))

    def weight(at: int) -> tuple[bool, int, int]:
        points = sum(run.points for run in logs[at][1].runs)
        return look.verdict(items[logs[at][0]]) is Verdict.FAIL, points, -at

    for group in groups_of_copies([result for _, result in logs], curve) if len(logs) > 1 else ():
        kept = max(group, key=weight)
        at, result = logs[kept]
        # One that could not be judged (half of its lines are damaged, say) is no copy of one that passed.
        fine = {Verdict.PASS, look.verdict(items[at])}
        copies = [
            logs[other]
            for other in group
            if other != kept
            and look.verdict(items[logs[other][0]]) in fine
            and look.alike(items[logs[other][0]], items[at])
        ]
        if copies:
            for copy, _ in copies:
                del found[copy]
            named = ", ".join(copy.path for _, copy in copies)
            note = f"the same run stands in {named} too (equal steps and losses): counted once"
            found[at] = look.told(items[at], replace(result, notes=(*result.notes, note)))
    return list(found.values())


def once_among_inputs(
    judged: list[Item],
    *,
    checked: Callable[[Item], CheckedInput],
    told: Callable[[Item, CheckedInput], Item],
    found: Container[str],
    gates: Sequence[PolicyGate],
    curve: Callable[[str], LossCurve] | None,
) -> list[Item]:
    """Do the same with the inputs of a check: with logs that were found in a folder, and answer to the same gates.

    Parameters
    ----------
    judged
        The inputs, judged.
    checked, told
        Look at one, and replace what is seen.
    found
        Paths that were found in folders, and not named.
    gates
        Of the policy.
    curve
        As for `counted_once`; None looks for nothing.
    """

    def result(one: Item) -> LogResult | None:
        known = checked(one).result
        return known if isinstance(known, LogResult) and checked(one).path in found else None

    def of(one: Item) -> list[PolicyGate]:
        return list(gates_for(gates, Family.LOG, checked(one).path))

    look = Judged(
        result=result,
        verdict=lambda one: checked(one).verdict,
        told=lambda one, log: told(one, replace(checked(one), result=log)),
        alike=lambda copy, kept: of(copy) == of(kept),
    )
    return judged if curve is None else counted_once(judged, look, curve)
