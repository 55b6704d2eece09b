"""The gains that a training log carries: which columns are judged, and the size of the streams."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from mhcdiag.errors import LogError
from mhcdiag.results.gain import Direction
from mhcdiag.results.numbers import Number, is_finite
from mhcdiag.results.trend import TrendPoint
from mhcdiag.results.wording import counted
from mhcdiag.runlogs import LogTable, iter_logs, several_logs, split_runs
from mhcdiag.runlogs.gain_names import GainName, best_gains, gain_name, gain_names
from mhcdiag.runlogs.names import plain
from mhcdiag.usecases.log_judging import carries, read_table
from mhcdiag.usecases.options import LogOptions

STREAM_RMS = "stream_rms"
MOST_NAMED = 12
"""Columns that a note names; a log of all layers has hundreds."""

Sizes = tuple[tuple[float, float], ...]
"""Step and root mean square of the streams."""


class NoGainError(LogError):
    """A log without a gain among its series."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoggedGains:
    """Gains and stream sizes of one log."""

    points: tuple[TrendPoint, ...]
    """Rows with a gain, in order of steps."""
    sizes: Sizes
    """Step and root mean square of the streams, where it was logged."""
    notes: tuple[str, ...]
    """What was left out, and which columns could have been judged."""
    is_of_study: bool = False
    """Whether `mhcdiag toy` wrote the log: its gains are those that our toy study is about."""


STUDY_COLUMNS = {"gain_forward", "gain_backward", "stream_rms", "stream_max"}
"""What `mhcdiag toy` logs of a probe, and nobody else together: the gain `amax` of the whole model on held-out text."""


def logged_gains(path: str, gain_keys: Sequence[str] = ()) -> LoggedGains:
    """Read the gains of the last run in a log.

    Of several columns the composite is judged before the whole before a single layer, and the worst before the mean
    (`runlogs.gain_names`); where several rank alike, the largest of them at each step.

    Parameters
    ----------
    path
        The log, or the folder of a run: of its logs the one that carries gains.
    gain_keys
        Names of the columns to judge, in place of that choice.

    Raises
    ------
    LogError
        There is no such column, fewer than two rows have one, or several logs of a folder have different ones.
    """
    logs = iter_logs(path)
    found: dict[str, LoggedGains] = {}
    for log in logs:
        try:
            found[log] = _gains_of(log, gain_keys)
        except NoGainError:
            if len(logs) == 1:
                raise
    if not found:
        raise NoGainError(path, found=f"{len(logs)} logs without a gain", expected="one with columns like gain_forward")
    fullest = max(found, key=lambda log: len(found[log].points))
    if any(not _covers(found[fullest], other) for other in found.values()):
        raise several_logs(path, list(found))
    notes = found[fullest].notes
    if len(logs) > 1:
        notes = (*notes, f"of {len(logs)} logs in the folder, the gains of {fullest} are judged")
    return replace(found[fullest], notes=notes)


def _covers(gains: LoggedGains, other: LoggedGains) -> bool:
    """Say whether a log has all points of another one: up to single precision, in which TensorBoard stores them."""
    mine = {point.step: point.gain for point in gains.points}
    return all(
        point.step in mine and all(_equal(point.gain[way], mine[point.step][way]) for way in Direction)
        for point in other.points
    )


def _equal(one: Number, other: Number) -> bool:
    """Say whether two gains are equal up to single precision; two that are not finite are."""
    if not (is_finite(one) and is_finite(other)):
        return is_finite(one) == is_finite(other)
    return bool(np.isclose(float(one), float(other), rtol=1e-6, atol=0))


def _gains_of(path: str, gain_keys: Sequence[str]) -> LoggedGains:
    """Read the gains of one log."""
    table = read_table(
        path, LogOptions(), keep=lambda name: name in gain_keys or name in STUDY_COLUMNS or gain_name(name) is not None
    )
    found = gain_names(list(table.columns))
    chosen = _named(table, gain_keys) if gain_keys else {way: best_gains(found, str(way)) for way in Direction}
    chosen = {way: columns for way, columns in chosen.items() if columns}
    if not chosen:
        raise _no_gain(table)
    runs = split_runs(table)
    rows = runs[-1].rows
    judged = {way: [one.name for one in columns] for way, columns in chosen.items()}
    carried = {way: np.any([carries(table, name) for name in names], axis=0) for way, names in judged.items()}
    rows = rows[np.any([mask[rows] for mask in carried.values()], axis=0)]
    if len(rows) < 2:
        raise LogError(path, found=f"{len(rows)} rows with a gain", expected="two or more for a trend")
    if np.any(np.diff(table.step[rows]) <= 0):
        raise LogError(path, found="equal steps among the rows with a gain", expected="one row per step")
    values = {way: _largest(table, names) for way, names in judged.items()}
    source = ", ".join(_shown(names) for names in judged.values())
    points = tuple(
        TrendPoint(
            step=float(table.step[row]),
            source=source,
            gain={way: float(values[way][row]) if way in values else np.nan for way in Direction},
        )
        for row in rows.tolist()
    )
    notes = [f"{len(runs)} runs in the log: the last one is judged"] if len(runs) > 1 else []
    notes += _notes(found, chosen)
    notes += _larger(table, rows, found, values)
    of_study = set(table.columns) >= STUDY_COLUMNS
    return LoggedGains(points=points, sizes=stream_sizes(table), notes=tuple(notes), is_of_study=of_study)


def stream_sizes(table: LogTable) -> Sizes:
    """Step and root mean square of the streams, of the last run in the log; empty where it was not logged."""
    name = next((name for name in table.columns if plain(name).endswith(STREAM_RMS)), None)
    if name is None:
        return ()
    rows = split_runs(table)[-1].rows
    rows = rows[np.isfinite(table.columns[name][rows])]
    return tuple(zip(table.step[rows].astype(float).tolist(), table.columns[name][rows].tolist(), strict=True))


def _named(table: LogTable, keys: Sequence[str]) -> dict[Direction, list[GainName]]:
    chosen: dict[Direction, list[GainName]] = {}
    for key in keys:
        name = next((ours for ours, theirs in table.source_names.items() if theirs == key), key)
        if name not in table.columns:
            near = get_close_matches(key, table.columns, n=8, cutoff=0) or ["none"]
            raise NoGainError(table.path, found=f"no series {key!r}", expected=f"one of {', '.join(map(repr, near))}")
        said = gain_name(key)
        words = set(plain(key).split("_"))
        backward = said.direction == str(Direction.BACKWARD) if said is not None else bool(words & {"backward", "bwd"})
        way = Direction.BACKWARD if backward else Direction.FORWARD
        direction = said.direction if said is not None else str(way)
        chosen.setdefault(way, []).append(GainName(name=name, direction=direction, rank=(0, 0)))
    return chosen


def _no_gain(table: LogTable) -> NoGainError:
    have = ", ".join(list(table.columns)[:8]) or "none"
    return NoGainError(
        table.path,
        found=f"no gain among its series ({have})",
        expected="columns like gain_forward, gain_backward",
        hint="name them with --gain-key",
    )


def _largest(table: LogTable, names: Sequence[str]) -> NDArray[np.float64]:
    """Return the largest of some series at each row; one that is not finite there is the largest."""
    columns = np.array([table.columns[name] for name in names])
    bad = np.array([table.nan_rows.get(name, np.zeros(len(table.step), dtype=np.bool_)) for name in names])
    with np.errstate(invalid="ignore"):
        largest: NDArray[np.float64] = np.fmax.reduce(columns, axis=0)
    # Where one of them is NaN because the run made it so, the row has no finite gain.
    largest[np.any(bad & ~np.isfinite(columns), axis=0)] = np.nan
    infinite = np.any(np.isinf(columns), axis=0)
    largest[infinite] = np.inf
    return largest


def _larger(
    table: LogTable,
    rows: NDArray[np.int64],
    found: Sequence[GainName],
    values: Mapping[Direction, NDArray[np.float64]],
) -> list[str]:
    """Name a column that is not judged and reaches more than those that are."""
    peak = max(float(np.max(np.nan_to_num(one[rows], nan=np.inf))) for one in values.values())
    tops = {one.name: float(np.fmax.reduce(table.columns[one.name][rows], initial=0.0)) for one in found}
    name = max(tops, key=lambda one: tops[one], default="")
    if not name or not tops[name] > 1.1 * peak:
        return []
    return [f"{name}, which is not judged, reaches {tops[name]:.4g}: more than what is (--gain-key {name} judges it)"]


def _shown(names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return f"the largest of {', '.join(names[:2])}{more}"


def _notes(found: Sequence[GainName], chosen: Mapping[Direction, Sequence[GainName]]) -> list[str]:
    judged = {one.name for columns in chosen.values() for one in columns}
    notes = []
    others = [one.name for one in found if one.name not in judged]
    if others:
        columns = "; ".join(f"{way} {_shown([one.name for one in chosen[way]])}" for way in chosen)
        more = f" and {len(others) - MOST_NAMED} more" if len(others) > MOST_NAMED else ""
        listed = ", ".join(others[:MOST_NAMED])
        notes.append(f"judged: {columns}; other gain columns: {listed}{more} (--gain-key NAME judges another)")
    unsaid = [one.name for columns in chosen.values() for one in columns if not one.direction]
    if unsaid:
        notes.append(f"{', '.join(unsaid[:MOST_NAMED])}: the name says no direction, taken for forward")
    if any(one.single for columns in chosen.values() for one in columns):
        layers = counted(len({one.name for columns in chosen.values() for one in columns}), "column")
        notes.append(f"no composite gain in the log, only that of single layers ({layers}): the product may be larger")
    return notes
