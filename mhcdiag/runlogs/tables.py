"""From the columns of a log to the table: names, steps, NaN, ranks."""

from collections.abc import Mapping
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from mhcdiag.errors import LogError
from mhcdiag.runlogs.builder import TableBuilder
from mhcdiag.runlogs.choice import Choice, Evidence, Names, choose, is_rival, whole_ranks
from mhcdiag.runlogs.interface import Keys, LogFormat
from mhcdiag.runlogs.log_table import LogTable
from mhcdiag.runlogs.names import CANONICAL, canonical_rank, plain
from mhcdiag.runlogs.nanrules import NanRules
from mhcdiag.runlogs.steps import StepCount, as_steps, count_steps

Columns = dict[str, NDArray[np.float64]]


def finish_table(
    builder: TableBuilder, *, path: str, log_format: LogFormat, keys: Keys, choice: Choice | None = None
) -> LogTable:
    """Return the table of all records a reader has found.

    Parameters
    ----------
    builder
        The records.
    path
        The log as the user named it.
    log_format
        What read it.
    keys
        Names that the user gave.
    choice
        What the first records decided; None: all of them decide.

    Raises
    ------
    LogError
        The log does not have the loss that the user named.
    SettingError
        It does not have the step that the user named.
    """
    _refuse_unknown_loss(builder, path=path, keys=keys)
    notes = list(builder.notes)
    if builder.dropped_series:
        notes.append(f"more than {len(builder.series):,} series: {builder.dropped_series:,} values of others left out")
    choice = choice or choose(builder, log_format=log_format, keys=keys)
    notes.extend(choice.notes)
    steps, missing = _steps(builder, choice, notes)
    names = Names(choice, keys, log_format.preferred)
    _refuse_results(builder, choice, path=path, log_format=log_format)
    ours = {name: names.of(name) for name in builder.counts if name not in (choice.step, choice.rank)}
    columns = {ours[name]: builder.column(name) for name in ours}
    strange = _masks(builder, ours)
    rules = NanRules(log_format.nan_family)
    _judge_nan(columns, strange, family=rules)
    table_columns = {name: columns.pop(name) for name in CANONICAL if name in columns} | columns
    losses = _recorded(table_columns, strange, "loss")
    copies = np.frombuffer(builder.copies, dtype=np.int64)
    copied = int(np.count_nonzero(losses[copies])) if len(losses) else 0
    watch = Evidence(choice)
    watch.feed(losses, _rivals(table_columns, strange, ours), missing)
    notes.extend(rules.notes(len(losses)))
    sources = names.sources()
    return LogTable(
        path=path,
        format=log_format.name,
        step=as_steps(steps),
        line=np.frombuffer(builder.line, dtype=np.int64) if builder.rows else np.empty(0, dtype=np.int64),
        columns=table_columns,
        source_names={name: sources[name] for name in CANONICAL if name in sources},
        nan_rows={name: mask for name, mask in strange.items() if mask.any()},
        total_steps=builder.totals(),
        rank=builder.ranks() if choice.rank is None else whole_ranks(builder.column(choice.rank)),
        lines=builder.lines,
        loss_lines=int(losses.sum()) + builder.garbled + sum(builder.ignored.values()) + copied,
        unreadable_lines=builder.garbled,
        notes=tuple(notes),
        scaler_events=tuple(builder.events),
        scaler_rows=tuple(builder.event_rows),
        writers=choice.writers,
        copied=copied,
        ignored=dict(builder.ignored),
        doubt=watch.doubt(),
    )


def _steps(builder: TableBuilder, choice: Choice, notes: list[str]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the step of each row, and which rows have none of their own."""
    if choice.numbered:
        return np.arange(builder.rows, dtype=np.float64), np.zeros(builder.rows, dtype=np.bool_)
    raw = builder.steps() if choice.step is None else builder.column(choice.step)
    count = StepCount()
    epochs = None if choice.epoch is None else builder.column(choice.epoch)
    steps = count_steps(raw, epochs=epochs, totals=builder.totals(), count=count)
    notes.extend(count.notes())
    return steps, ~np.isfinite(raw)


def _rivals(
    columns: Columns, strange: dict[str, NDArray[np.bool_]], ours: Mapping[str, str]
) -> NDArray[np.bool_] | None:
    """Return which rows carry a loss that might be the main one and is not; None: there is no such series."""
    found: NDArray[np.bool_] | None = None
    for name in ours.values():
        if is_rival(name):
            here = _recorded(columns, strange, name)
            found = here if found is None else found | here
    return found


def _refuse_unknown_loss(builder: TableBuilder, *, path: str, keys: Keys) -> None:
    known = {*builder.counts, *builder.strange}
    if keys.loss is None or keys.loss in known:
        return
    # A key that is mistyped must not pass because another loss is well.
    near = get_close_matches(keys.loss, known, n=8, cutoff=0) or ["none"]
    raise LogError(
        path,
        found=f"no series {keys.loss!r}",
        expected=f"one of {', '.join(map(repr, near))}",
        hint="--list-series shows all of them",
    )


class ResultsError(LogError):
    """A list of final results, one per model, which is no log."""


_TABLES = frozenset({"json", "jsonl", "csv"})
"""Formats in which people also keep final results."""
_ONE_PER_RUN = frozenset({"seed", "trial", "fold", "run"})


def _refuse_results(builder: TableBuilder, choice: Choice, *, path: str, log_format: LogFormat) -> None:
    """Refuse the final results of several models: there is no course in them, and nothing that could be called well."""
    if log_format.name not in _TABLES or not choice.numbered or np.isfinite(builder.steps()).any():
        return
    if builder.rows < 2 or any(_counts_up(builder, name) for name in builder.counts):
        return
    apart = [name for name in builder.counts if plain(name) in _ONE_PER_RUN and _all_differ(builder.column(name))]
    named = builder.labelled == builder.rows == len(builder.labels)
    loss = next((name for name, canonical in choice.names.items() if canonical == "loss"), "")
    final = choice.promoted or "final" in plain(loss).split("_")
    if not (apart or named or final):
        return
    why = f"each has another '{apart[0]}'" if apart else "each has a name of its own" if named else "final losses"
    raise ResultsError(
        path,
        found=f"a list of {builder.rows} results without a step ({why})",
        expected="the log of one run",
        hint="if it is one, name the column that counts its steps with --step-key",
    )


def _counts_up(builder: TableBuilder, name: str) -> bool:
    """Say whether a series is an epoch or a time that goes on from record to record."""
    rank = canonical_rank(name)
    if plain(name) not in {"epoch", "epochs", "ep"} and (rank is None or rank[0] != "time"):
        return False
    values = builder.column(name)
    known = values[np.isfinite(values)]
    return len(known) > 1 and bool(np.all(np.diff(known) >= 0)) and bool(known[-1] > known[0])


def _all_differ(values: NDArray[np.float64]) -> bool:
    return bool(np.isfinite(values).all()) and len(np.unique(values)) == len(values)


def _masks(builder: TableBuilder, ours: Mapping[str, str]) -> dict[str, NDArray[np.bool_]]:
    masks: dict[str, NDArray[np.bool_]] = {}
    for name, rows in builder.strange.items():
        if name in ours:
            mask = masks[ours[name]] = np.zeros(builder.rows, dtype=np.bool_)
            mask[np.frombuffer(rows, dtype=np.int64)] = True
    return masks


def _recorded(columns: Columns, strange: dict[str, NDArray[np.bool_]], name: str) -> NDArray[np.bool_]:
    if name not in columns:
        return np.zeros(0, dtype=np.bool_)
    finite: NDArray[np.bool_] = np.isfinite(columns[name])
    return finite | strange[name] if name in strange else finite


def _candidates(columns: Columns, strange: dict[str, NDArray[np.bool_]], family: str) -> NDArray[np.int64]:
    """Rows on which a NaN rule can act, and the rows before them that the rules look back to.

    The rules go record by record, which would cost seconds on a million rows that are all finite.
    """
    some = next(iter(columns.values()), np.empty(0))
    rows = np.zeros(len(some), dtype=np.bool_)
    for mask in strange.values():
        rows |= mask
    has_loss = _recorded(columns, strange, "loss") if "loss" in columns else rows & False
    if family == "huggingface" and "loss" in columns:
        rows |= columns["loss"] == 0.0
    if family == "megatron":
        rows |= ~has_loss
    found = np.flatnonzero(rows)
    losses = np.flatnonzero(has_loss)
    before = losses[np.maximum(np.searchsorted(losses, found) - 1, 0)] if len(losses) else found
    return np.unique(np.concatenate([found, before, np.maximum(found - 1, 0)]))


def _judge_nan(columns: Columns, strange: dict[str, NDArray[np.bool_]], *, family: NanRules) -> None:
    rows = _candidates(columns, strange, family.family)
    if not len(rows):
        return
    total = len(next(iter(columns.values())))
    masks = {name: strange.get(name, np.zeros(total, dtype=np.bool_)) for name in columns}
    for row in rows.tolist():
        values = {
            name: float(column[row])
            for name, column in columns.items()
            if masks[name][row] or not np.isnan(column[row])
        }
        judged = family.judge(values)
        for name in values.keys() | judged.nan:
            if name not in judged.values or name in judged.nan or masks[name][row]:
                masks.setdefault(name, np.zeros(total, dtype=np.bool_))[row] = name in judged.nan
                target = columns.get(name)
                if target is None:
                    target = columns[name] = np.full(total, np.nan)
                target[row] = judged.values.get(name, np.nan)
    strange.update({name: mask for name, mask in masks.items() if mask.any() or name in strange})
