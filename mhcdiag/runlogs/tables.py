"""From the columns of a log to the table: names, steps, NaN, ranks."""

from collections.abc import Mapping
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from mhcdiag.errors import LogError
from mhcdiag.runlogs.builder import TableBuilder
from mhcdiag.runlogs.interface import Keys, LogFormat, LogTable
from mhcdiag.runlogs.names import CANONICAL, bind_names, canonical_rank, other_name, plain
from mhcdiag.runlogs.nanrules import NanRules
from mhcdiag.runlogs.steps import StepCount, as_steps

Columns = dict[str, NDArray[np.float64]]


def finish_table(builder: TableBuilder, *, path: str, log_format: LogFormat, keys: Keys) -> LogTable:
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
    # The step first: the series that holds it is no candidate for anything else.
    counted = StepCount(builder, keys=keys, notes=notes)
    names = bind_names(
        {name: count for name, count in builder.counts.items() if name != counted.name},
        preferred=log_format.preferred,
        loss_key=keys.loss,
    )
    _refuse_results(builder, counted, names, path=path, log_format=log_format)
    ours = {name: other_name(name) for name in builder.counts}
    ours |= {source: canonical for canonical, source in names.items()}
    columns = {ours[name]: builder.column(name) for name in builder.counts if name != counted.name}
    strange = _masks(builder, ours, counted.name)
    _judge_nan(columns, strange, family=NanRules(log_format.nan_family), notes=notes)
    _promote_eval(columns, strange, names, notes)
    table_columns = {name: columns.pop(name) for name in CANONICAL if name in columns} | columns
    losses = _recorded(table_columns, strange, "loss")
    # Where the filter is on there is nothing left to find: the user should know that silence proves little.
    if log_format.nan_family == "huggingface" and "loss" in table_columns:
        notes.append("the Trainer replaces NaN losses by default (logging_nan_inf_filter): a NaN may be hidden here")
    return LogTable(
        path=path,
        format=log_format.name,
        step=as_steps(counted.values),
        line=np.frombuffer(builder.line, dtype=np.int64) if builder.rows else np.empty(0, dtype=np.int64),
        columns=table_columns,
        source_names={name: names[name] for name in CANONICAL if name in names},
        nan_rows={name: mask for name, mask in strange.items() if mask.any()},
        total_steps=builder.totals(),
        rank=builder.ranks(),
        lines=builder.lines,
        loss_lines=int(losses.sum()) + builder.garbled,
        unreadable_lines=builder.garbled,
        notes=tuple(notes),
        scaler_events=tuple(builder.events),
    )


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


def _refuse_results(
    builder: TableBuilder, counted: StepCount, names: Mapping[str, str], *, path: str, log_format: LogFormat
) -> None:
    """Refuse the final results of several models: there is no course in them, and nothing that could be called well."""
    if log_format.name not in _TABLES or counted.name is not None or np.isfinite(builder.steps()).any():
        return
    if builder.rows < 2 or any(_counts_up(builder, name) for name in builder.counts):
        return
    apart = [name for name in builder.counts if plain(name) in _ONE_PER_RUN and _all_differ(builder.column(name))]
    named = builder.labelled == builder.rows == len(builder.labels)
    final = "loss" not in names and "eval_loss" in names
    final |= "final" in plain(names.get("loss", "")).split("_")
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


def _masks(builder: TableBuilder, ours: Mapping[str, str], step: str | None) -> dict[str, NDArray[np.bool_]]:
    masks: dict[str, NDArray[np.bool_]] = {}
    for name, rows in builder.strange.items():
        if name != step:
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


def _judge_nan(columns: Columns, strange: dict[str, NDArray[np.bool_]], *, family: NanRules, notes: list[str]) -> None:
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
    if family.empty:
        notes.append(f"{family.empty:,} records whose every metric is NaN: taken as not recorded")


def _promote_eval(
    columns: Columns, strange: dict[str, NDArray[np.bool_]], names: dict[str, str], notes: list[str]
) -> None:
    if "loss" in columns or "eval_loss" not in columns:
        return
    # Some logs hold evaluations only (modded-nanogpt's track 3); a gate on the loss would find nothing to judge.
    columns["loss"] = columns.pop("eval_loss")
    names["loss"] = names.pop("eval_loss")
    if "eval_loss" in strange:
        strange["loss"] = strange.pop("eval_loss")
    notes.append(f"no training loss: the evaluation loss '{names['loss']}' is judged")
