"""Two runs against each other: where the gap between their losses opens."""

import numpy as np

from mhcdiag.detectors.gap import DRAWN, loss_gap
from mhcdiag.detectors.interface import Floats
from mhcdiag.errors import LogError
from mhcdiag.logapi.options import LOSS, LogOptions
from mhcdiag.logapi.whole import read_table
from mhcdiag.results.spikes import Comparison
from mhcdiag.runlogs import split_runs

LEAST = 10
"""Common steps without which nothing is compared."""


def compare(path: str, other: str, options: LogOptions) -> Comparison:
    """Return the gap between the losses of two logs; of several runs in a log the longest counts.

    Arguments: path, other: the logs; options: how to read both. Raises: LogError when they have no common
    steps.
    """
    gap = loss_gap(_longest_run(path, options), _longest_run(other, options))
    points = len(gap.step)
    if points < LEAST:
        raise LogError(
            path,
            found=f"{points} steps in common with {other}",
            expected=f"at least {LEAST}",
            hint="both logs must cover the same steps",
        )
    widest = int(np.abs(gap.smooth).argmax())
    drawn = np.unique(np.linspace(0, points - 1, min(points, DRAWN)).astype(np.int64))
    return Comparison(
        path=path,
        other=other,
        points=points,
        first_step=float(gap.step[0]),
        last_step=float(gap.step[-1]),
        final_gap=float(np.median(gap.smooth[-max(points // 10, 1) :])),
        largest_gap=float(gap.smooth[widest]),
        largest_gap_step=float(gap.step[widest]),
        opens=gap.opens,
        step=tuple(gap.step[drawn].tolist()),
        loss=tuple(gap.mine[drawn].tolist()),
        other_loss=tuple(gap.theirs[drawn].tolist()),
        gap=tuple(gap.smooth[drawn].tolist()),
    )


def _longest_run(path: str, options: LogOptions) -> tuple[Floats, Floats]:
    table = read_table(path, options)
    loss = table.require(LOSS)
    rows = max(split_runs(table), key=lambda run: run.points).rows
    rows = rows[np.isfinite(loss[rows])]
    step, first = np.unique(table.step[rows].astype(np.float64), return_index=True)
    inside = (step >= options.first_step) & (step <= options.last_step)
    return step[inside], loss[rows[first]][inside]
