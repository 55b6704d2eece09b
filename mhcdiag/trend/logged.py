"""The gains that a training log carries."""

import math
from dataclasses import dataclass

import numpy as np

from mhcdiag.errors import LogError
from mhcdiag.logapi import LogOptions, read_table
from mhcdiag.results.gain import Direction
from mhcdiag.results.trend import TrendPoint
from mhcdiag.runlogs import LogTable, split_runs
from mhcdiag.runlogs.names import plain

WORDS = {
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


def logged_gains(path: str) -> LoggedGains:
    """Read the columns whose names say gain and a direction, of the last run in the log.

    Raises: LogError where there is none, or fewer than two rows.
    """
    table = read_table(path, LogOptions())
    columns = _columns(table)
    runs = split_runs(table)
    rows = runs[-1].rows
    rows = rows[np.any([_recorded(table, name)[rows] for name in columns.values()], axis=0)]
    if len(rows) < 2:
        raise LogError(path, found=f"{len(rows)} rows with a gain", expected="two or more for a trend")
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
    return LoggedGains(points=points, sizes=stream_sizes(table), notes=note)


def stream_sizes(table: LogTable) -> tuple[tuple[float, float], ...]:
    """Step and root mean square of the streams, of the last run in the log; empty where it was not logged."""
    name = next((name for name in table.columns if plain(name).endswith(STREAM_RMS)), None)
    if name is None:
        return ()
    rows = split_runs(table)[-1].rows
    rows = rows[np.isfinite(table.columns[name][rows])]
    return tuple(zip(table.step[rows].astype(float).tolist(), table.columns[name][rows].tolist(), strict=True))


def _columns(table: LogTable) -> dict[Direction, str]:
    found = {}
    for direction, words in WORDS.items():
        named = [name for name in table.columns if "gain" in _words(name) and words.intersection(_words(name))]
        if named:
            found[direction] = named[0]
    if not found:
        have = ", ".join(list(table.columns)[:8]) or "none"
        raise LogError(
            table.path, found=f"no gain among its series ({have})", expected="columns like gain_forward, gain_backward"
        )
    return found


def _words(name: str) -> list[str]:
    return plain(name).split("_")


def _recorded(table: LogTable, name: str) -> np.ndarray:
    recorded: np.ndarray = np.isfinite(table.columns[name])
    return recorded | table.nan_rows[name] if name in table.nan_rows else recorded
