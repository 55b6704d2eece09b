"""Gains that a training log carries, as `Monitor` and `mhcdiag toy` write them."""

import math
from dataclasses import dataclass

import numpy as np

from mhcdiag.errors import LogError
from mhcdiag.results.gain import Direction
from mhcdiag.results.trend import TrendPoint
from mhcdiag.runlogs import LogTable, split_runs
from mhcdiag.runlogs.names import plain
from mhcdiag.usecases.log_judging import carries, read_table
from mhcdiag.usecases.options import LogOptions

WORDS = {  # of a column's name beside "gain": `Monitor` and people name theirs differently
    Direction.FORWARD: frozenset({"forward", "fwd"}),
    Direction.BACKWARD: frozenset({"backward", "bwd"}),
}
STREAM_RMS = "stream_rms"


@dataclass(frozen=True, kw_only=True, slots=True)
class LoggedGains:
    """Gains and stream sizes of one log."""

    points: tuple[TrendPoint, ...]
    """Rows with a gain, in order of steps."""
    sizes: tuple[tuple[float, float], ...]
    """Step and root mean square of the streams, where it was logged."""
    notes: tuple[str, ...]
    """What was left out."""
    is_of_study: bool
    """Whether `mhcdiag toy` wrote the log: its gains are those that our toy study is about."""


STUDY_COLUMNS = {"gain_forward", "gain_backward", "stream_rms", "stream_max"}
"""What `mhcdiag toy` logs of a probe, and nobody else together: the gain `amax` of the whole model on held-out text."""


def logged_gains(path: str) -> LoggedGains:
    """Read the columns whose names say gain and a direction, of the last run in the log.

    Raises
    ------
    LogError
        There is no such column, or fewer than two rows have one.
    """
    table = read_table(path, LogOptions())
    found = gains_in(table)
    if found is None:
        have = ", ".join(list(table.columns)[:8]) or "none"
        raise LogError(
            path, found=f"no gain among its series ({have})", expected="columns like gain_forward, gain_backward"
        )
    if len(found.points) < 2:
        raise LogError(path, found=f"{len(found.points)} rows with a gain", expected="two or more for a trend")
    return found


def gains_in(table: LogTable) -> LoggedGains | None:
    """The gains of the last run in a log; None where it has no column of them.

    Raises
    ------
    LogError
        Two rows with a gain are of the same step.
    """
    columns = _columns(table)
    if not columns:
        return None
    path = table.path
    runs = split_runs(table)
    rows = runs[-1].rows
    rows = rows[np.any([carries(table, name)[rows] for name in columns.values()], axis=0)]
    step = table.step[rows]
    if np.any(np.diff(step) <= 0):
        raise LogError(path, found="equal steps among the rows with a gain", expected="one row per step")
    points = tuple(
        TrendPoint(
            step=float(table.step[row]),
            source=", ".join(columns.values()),
            gain={
                direction: float(table.columns[columns[direction]][row]) if direction in columns else math.nan
                for direction in Direction
            },
        )
        for row in rows.tolist()
    )
    note = (f"{len(runs)} runs in the log: the last one is judged",) if len(runs) > 1 else ()
    return LoggedGains(
        points=points, sizes=stream_sizes(table), notes=note, is_of_study=set(table.columns) >= STUDY_COLUMNS
    )


def stream_sizes(table: LogTable) -> tuple[tuple[float, float], ...]:
    """Step and root mean square of the streams, of the last run in the log; empty where it was not logged."""
    name = next((name for name in table.columns if plain(name).endswith(STREAM_RMS)), None)
    if name is None:
        return ()
    rows = split_runs(table)[-1].rows
    rows = rows[np.isfinite(table.columns[name][rows])]
    return tuple(zip(table.step[rows].astype(float).tolist(), table.columns[name][rows].tolist(), strict=True))


def _columns(table: LogTable) -> dict[Direction, str]:
    """By direction the column whose name says least beside: gain_forward, and not gain_forward_max."""
    found = {}
    for direction, words in WORDS.items():
        named = [name for name in table.columns if "gain" in _words(name) and words.intersection(_words(name))]
        if named:
            found[direction] = min(named, key=lambda name: len(_words(name)))
    return found


def _words(name: str) -> list[str]:
    return plain(name).split("_")
