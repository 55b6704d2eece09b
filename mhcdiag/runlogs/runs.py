"""Runs inside one log: resumes that go back, runs appended to a file, writers that talk at the same time."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mhcdiag.runlogs.log_table import LogTable, Run

Rows = NDArray[np.int64]

INTERLEAVED = 0.2
"""Share of backward moves from which several writers are assumed, as in a log that goes 1020, 1010,
1030, 1020, ..."""


def goes_back_to_start(
    step: float, *, first: float, last: float, interval: float, total: float, total_before: float
) -> bool:
    """Say whether a step that goes back begins a new run; if not, the run was resumed from a checkpoint.

    A new run begins near the first step of the one before. A planned number of steps that is gone marks a
    phase: nanochat's speedrun.log holds pre-training ("step 00000/05742"), then fine-tuning ("step 00000 (0.20%)").

    Parameters
    ----------
    step
        The new step.
    first, last
        Steps of the run so far.
    interval
        Steps between its last two records.
    total, total_before
        Planned number of steps now and before, NaN where the log does not have it.
    """
    if step <= first + 2 * interval:
        return True
    if np.isfinite(total_before) and not np.isfinite(total):
        return True
    changed = np.isfinite(total) and np.isfinite(total_before) and total != total_before
    return bool(changed and step <= first + 0.05 * (last - first))


@dataclass(kw_only=True, slots=True)
class _Open:
    """A run while its rows are collected; positions count the loss rows."""

    start: int
    replaced: list[Rows] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def split_runs(table: LogTable) -> list[Run]:
    """Split the table of one log into the runs that wrote it: at least one if the table has rows."""
    step = table.step.astype(np.float64)
    notes: list[str] = []
    # Only records with a loss move the run: evaluations may stand before or behind the record of their step.
    losses = _loss_rows(table)
    judged = _lowest_rank(table, losses, notes)
    hidden = _without(losses, judged, len(step))
    if not len(judged):
        return [_run(np.arange(len(step)), step, [], notes, points=0)] if len(step) else []
    moves = np.diff(step[judged])
    back = np.flatnonzero(moves < 0) + 1
    # Records of several writers cannot be told apart without ranks: sorted by step they make one noisy series.
    if _interleaved(step[judged], back):
        notes.append(f"{len(judged):,} records of several writers: sorted by step")
        current = _Open(start=0, notes=notes, replaced=[hidden])
        return [_close(table, np.arange(len(step)), judged, current)]
    return _split_at(table, step, judged, back, _Open(start=0, notes=notes, replaced=[hidden]))


def _loss_rows(table: LogTable) -> Rows:
    if "loss" not in table.columns:
        return np.arange(len(table.step))
    rows = np.isfinite(table.columns["loss"])
    if "loss" in table.nan_rows:
        rows = rows | table.nan_rows["loss"]
    return np.flatnonzero(rows)


def _lowest_rank(table: LogTable, judged: Rows, notes: list[str]) -> Rows:
    """Keep the lowest rank's record of each step.

    Losses of ranks differ where each prints its own micro-batch: all of them would be one very noisy series. A NaN on a
    rank that does not count is named in a note.
    """
    if table.rank is None:
        return judged
    ranks = table.rank[judged]
    found = np.unique(ranks[ranks >= 0])
    if len(found) < 2:
        return judged
    known = table.step[judged[ranks == found[0]]]
    dropped = (ranks > found[0]) & np.isin(table.step[judged], known)
    notes.append(f"lines of {len(found)} ranks: rank {found[0]} counts")
    bad = table.nan_rows.get("loss")
    if bad is not None and (hidden := judged[dropped][bad[judged[dropped]]]).size:
        steps = table.step[hidden]
        if not np.isin(steps, table.step[judged[~dropped]][bad[judged[~dropped]]]).all():
            notes.append(f"a rank that does not count logs a NaN loss at step {_number(steps[0])}")
    kept: Rows = judged[~dropped]
    return kept


def _interleaved(steps: NDArray[np.float64], back: Rows) -> bool:
    if len(steps) < 10 or len(back) <= INTERLEAVED * (len(steps) - 1):
        return False
    # Twenty seeds appended to one file go back nineteen times, too (modded-nanogpt's track 3), but to their first step.
    restarts = np.count_nonzero(steps[back] == steps[0])
    return bool(restarts < 0.5 * len(back))


def _split_at(table: LogTable, step: NDArray[np.float64], judged: Rows, back: Rows, current: _Open) -> list[Run]:
    totals = table.total_steps if table.total_steps is not None else np.full(len(step), np.nan)
    hidden = current.replaced[0]
    runs: list[Run] = []
    bounds = [0]
    for position in back.tolist():
        row, before = judged[position], judged[position - 1]
        first = step[judged[current.start]]
        interval = step[before] - step[judged[max(position - 2, current.start)]]
        new = goes_back_to_start(
            step[row],
            first=first,
            last=step[before],
            interval=max(interval, 0.0),
            total=totals[row],
            total_before=totals[before],
        )
        if not new:
            # Of a step that was trained twice the last copy counts: it is what the weights came from.
            seen = np.arange(bounds[-1], before + 1)
            current.replaced.append(seen[step[seen] >= step[row]])
            current.notes.append(f"resumed at {_number(step[row])} from {_number(step[before])}")
            continue
        bound = _bound(step, before, row)
        runs.append(_close(table, np.arange(bounds[-1], bound), judged[current.start : position], current))
        bounds.append(bound)
        after = f"step {_number(step[row])} after {_number(step[before])}"
        current = _Open(
            start=position,
            notes=[f"a new run begins in line {table.line[row]:,}: {after}"],
            replaced=[hidden],
        )
    runs.append(_close(table, np.arange(bounds[-1], len(step)), judged[current.start :], current))
    return runs


def _bound(step: NDArray[np.float64], before: int, row: int) -> int:
    """Return the first row of the new run: an evaluation in between goes to the nearer step."""
    for between in range(before + 1, row):
        if abs(step[between] - step[row]) < abs(step[between] - step[before]):
            return between
    return int(row)


def _close(table: LogTable, span: Rows, judged: Rows, current: _Open) -> Run:
    """Make a run of the rows in `span` that nothing replaced, without what was printed twice."""
    step = table.step.astype(np.float64)
    replaced = np.unique(np.concatenate(current.replaced))
    replaced = replaced[(replaced >= span[0]) & (replaced <= span[-1])]
    kept_losses = _without(judged, replaced, len(step))
    order = kept_losses[np.argsort(step[kept_losses], kind="stable")]
    notes = list(current.notes)
    copies = _copies(table, step, order, notes)
    return _run(span, step, [replaced, copies], notes, points=len(order) - len(copies))


def _copies(table: LogTable, step: NDArray[np.float64], order: Rows, notes: list[str]) -> Rows:
    """Return the rows that repeat step and loss of another.

    Another loss of the same step is another point: leaving it out could hide a NaN or a spike.
    """
    if "loss" not in table.columns or np.all(np.diff(step[order]) > 0):
        return np.empty(0, dtype=np.int64)
    loss = table.columns["loss"][order]
    ranked = order[np.lexsort((loss, step[order]))]
    loss = table.columns["loss"][ranked]
    same_step = np.diff(step[ranked]) == 0
    same_loss = (loss[1:] == loss[:-1]) | (np.isnan(loss[1:]) & np.isnan(loss[:-1]))
    copies: Rows = np.sort(ranked[1:][same_step & same_loss])
    others = int(np.count_nonzero(same_step & ~same_loss))
    if len(copies):
        notes.append(f"{len(copies):,} records that were printed twice: left out")
    if others:
        notes.append(f"{others:,} records of a step that has another loss: all count")
    return copies


def _run(span: Rows, step: NDArray[np.float64], out: list[Rows], notes: list[str], *, points: int) -> Run:
    dropped = np.concatenate([*out, np.empty(0, dtype=np.int64)])
    rows = _without(span, dropped, len(step))
    rows = rows[np.argsort(step[rows], kind="stable")]
    return Run(
        rows=rows,
        replaced=np.sort(dropped).astype(np.int64),
        first_step=float(step[rows[0]]),
        last_step=float(step[rows[-1]]),
        points=points,
        notes=tuple(notes),
    )


def _without(rows: Rows, dropped: Rows, size: int) -> Rows:
    """Return rows in their order, without some; `size` is the number of all rows."""
    if not len(dropped):
        return rows
    keep = np.ones(size, dtype=np.bool_)
    keep[dropped] = False
    kept: Rows = rows[keep[rows]]
    return kept


def _number(step: float) -> str:
    return f"{step:,.0f}" if float(step).is_integer() else f"{step:,g}"
