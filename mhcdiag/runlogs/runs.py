"""The runs inside one log that is there as a table: which rows count, and which a resume wrote again."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mhcdiag.runlogs.log_table import LogTable, Run
from mhcdiag.runlogs.run_course import Merged, NewRun, Records, Rewind, RunCourse, Span
from mhcdiag.runlogs.run_state import Floats, RunState


def split_runs(table: LogTable) -> list[Run]:
    """Split the table of one log into the runs that wrote it: at least one if the table has rows."""
    if not len(table.step):
        return []
    course = RunCourse(table.writers)
    items = [*course.feed(records_of(table)), *course.finish()]
    step = table.step.astype(np.float64)
    carries = _carries(table)
    parts: list[tuple[list[int], list[int]]] = [([], [])]
    last = np.nan
    for item in items:
        kept, out = parts[-1]
        if isinstance(item, NewRun):
            parts.append(([], []))
            last = np.nan
        elif isinstance(item, Rewind):
            out.extend(row for row in kept if step[row] >= item.step)
            kept[:] = [row for row in kept if step[row] < item.step]
            last = np.nan
        elif isinstance(item, Span):
            for row in range(item.first, item.after):
                again = "loss" in table.columns and bool(carries[row]) and step[row] == last
                (out if again else kept).append(row)
                last = step[row] if carries[row] else last
        else:
            rows = sorted(item.rows, key=_rank_in(table)) if isinstance(item, Merged) else [item.row]
            kept.extend(rows[:1] if isinstance(item, Merged) else ())
            out.extend(rows[1:] if isinstance(item, Merged) else rows)
    runs = [_run(step, *part, state) for part, state in zip(parts, course.runs, strict=True)]
    more = course.notes()[sum(len(state.notes) for state in course.runs) :]
    return [*runs[:-1], replace(runs[-1], notes=(*runs[-1].notes, *more))]


def _rank_in(table: LogTable) -> Callable[[int], int]:
    return lambda row: 0 if table.rank is None else int(table.rank[row])


def records_of(table: LogTable, rows: slice = slice(None)) -> Records:
    """Return rows of a table as the course of runs takes them."""
    return Records(
        step=table.step[rows].astype(np.float64),
        line=table.line[rows],
        carries=_carries(table)[rows],
        rank=None if table.rank is None else table.rank[rows],
        total=None if table.total_steps is None else table.total_steps[rows],
    )


def _carries(table: LogTable) -> NDArray[np.bool_]:
    if "loss" not in table.columns:
        return np.ones(len(table.step), dtype=np.bool_)
    rows = np.isfinite(table.columns["loss"])
    return rows | table.nan_rows["loss"] if "loss" in table.nan_rows else rows


def _run(step: Floats, kept: Sequence[int], out: Sequence[int], state: RunState) -> Run:
    rows = np.array(kept, dtype=np.int64)
    return Run(
        rows=rows[np.argsort(step[rows], kind="stable")],
        replaced=np.sort(np.array(out, dtype=np.int64)),
        first_step=state.smallest,
        last_step=state.largest,
        points=state.points,
        notes=tuple(state.notes),
    )
