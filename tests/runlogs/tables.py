"""Tables of logs, made without a log, for the tests of what is done with them."""

import numpy as np

from mhcdiag.runlogs import LogTable
from mhcdiag.runlogs.choice import writers_of
from mhcdiag.runlogs.log_table import Writers

NAN = float("nan")


def table(
    steps: list[float],
    loss: list[float] | float | None = 2.5,
    *,
    nan: list[int] | None = None,
    rank: list[int] | None = None,
    total: list[float] | None = None,
    **others: list[float],
) -> LogTable:
    """One row per step, in lines 1, 2, 3; `nan`: rows whose loss is a NaN of the run."""
    count = len(steps)
    columns = {name: np.array(values, dtype=np.float64) for name, values in others.items()}
    if loss is not None:
        columns["loss"] = np.full(count, loss) if isinstance(loss, float) else np.array(loss, dtype=np.float64)
    bad = np.isin(np.arange(count), nan or [])
    if nan:
        columns["loss"][bad] = NAN
    here = np.ones(count, dtype=bool) if loss is None else np.isfinite(columns["loss"]) | bad
    ranks = None if rank is None else np.array(rank)
    values = columns.get("loss", np.zeros(count))[here]
    step = np.array(steps, dtype=np.float64)
    writers, _ = writers_of(step[here], values, rank=None if ranks is None else ranks[here])
    return LogTable(
        path="run.log",
        format="jsonl",
        step=step,
        line=np.arange(1, count + 1),
        columns=columns,
        source_names={},
        nan_rows={"loss": bad} if nan else {},
        total_steps=None if total is None else np.array(total, dtype=np.float64),
        rank=ranks,
        writers=writers if loss is not None else Writers(),
        lines=count,
        loss_lines=count,
        unreadable_lines=0,
    )
