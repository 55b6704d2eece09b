"""A finished log to its report."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mhcdiag.detectors import Message, Records
from mhcdiag.logapi.options import GRADIENT_NORM, LOSS, LOSS_SCALE, LogOptions
from mhcdiag.logapi.reporting import LogFacts, report
from mhcdiag.results.spikes import LogResult, RunSpan
from mhcdiag.runlogs import LogTable, Run, ScalerEvent, read_log, split_runs


def read_table(path: str, options: LogOptions) -> LogTable:
    """Read a log as the options say. Raises: LogError, SettingError."""
    return read_log(
        path,
        log_format=options.log_format,
        loss_key=options.loss_key,
        step_key=options.step_key,
        regex=options.regex,
    )


def spikes(path: str, options: LogOptions | None = None) -> LogResult:
    """Find what went wrong in a training log.

    Arguments: path: file, folder of one run, or `-` for standard input; options: how to read and judge it.
    Returns: the report. Raises: LogError when the log cannot be read or has no loss, SettingError.
    """
    options = options or LogOptions()
    options.published_rule()  # a wrong name is told before a large log is read
    return judge_table(read_table(path, options), options)


def judge_table(table: LogTable, options: LogOptions) -> LogResult:
    """Find what went wrong in a log that is read already.

    Arguments: table: the log; options: how to judge it. Raises: LogError when a series is missing.
    """
    names = judged_series(table, options)
    watcher = options.watcher(names, table.format)
    messages = [to_message(event) for event in table.scaler_events]
    spans: list[RunSpan] = []
    notes = list(table.notes)
    runs = split_runs(table)
    for index, run in enumerate(runs):
        if index:
            watcher.new_run()
        following = int(table.line[runs[index + 1].rows].min()) if index + 1 < len(runs) else None
        for segment, rewound in _segments(table, run):
            if rewound is not None:
                watcher.rewind(rewound)
            watcher.feed(_records(table, _within(table, segment, options), names))
        while messages and (following is None or messages[0].line < following):
            watcher.message(messages.pop(0))
        spans.append(_span(table, run, options))
        notes.extend(run.notes)
    watcher.finish()
    facts = LogFacts(
        path=table.path,
        format=table.format,
        rule=options.rule,
        warmup=options.settings.warmup,
        lines=table.lines,
        loss_lines=table.loss_lines,
        unreadable_lines=table.unreadable_lines,
        source_names=table.source_names,
        runs=tuple(spans),
        notes=tuple(notes),
    )
    return report(watcher, facts)


def judged_series(table: LogTable, options: LogOptions) -> tuple[str, ...]:
    """Return the names of the series to judge: the loss, the gradient norm, and those asked for.

    Raises: LogError when one is missing.
    """
    for name in options.series:
        table.require(name)
    if not options.series:
        table.require(LOSS)
    first = [name for name in (LOSS, GRADIENT_NORM) if name in table.columns]
    return tuple(dict.fromkeys([*first, *options.series]))


def to_message(event: ScalerEvent) -> Message:
    """Return a message of the reader as the watcher takes it."""
    return Message(line=event.line, step=event.step, kind=event.kind, loss_scale=event.loss_scale, text=event.text)


def _segments(table: LogTable, run: Run) -> Iterator[tuple[NDArray[np.int64], float | None]]:
    """Yield the rows of a run in the order in which they were written, cut where a resume went back."""
    if not len(run.replaced):
        yield run.rows, None
        return
    rows = np.sort(np.concatenate([run.rows, run.replaced]))
    step = table.step.astype(np.float64)
    with_loss = rows[_carries(table, LOSS)[rows]] if LOSS in table.columns else rows
    back = with_loss[1:][np.diff(step[with_loss]) < 0]
    bounds = [0, *np.searchsorted(rows, back).tolist(), len(rows)]
    for index, (first, after) in enumerate(pairwise(bounds)):
        segment = rows[first:after]
        yield segment, float(step[segment[0]]) if index else None


def _carries(table: LogTable, name: str) -> NDArray[np.bool_]:
    carries: NDArray[np.bool_] = np.isfinite(table.columns[name])
    return carries | table.nan_rows[name] if name in table.nan_rows else carries


def _within(table: LogTable, rows: NDArray[np.int64], options: LogOptions) -> NDArray[np.int64]:
    if options.first_step == -np.inf and options.last_step == np.inf:
        return rows
    step = table.step[rows]
    return rows[(step >= options.first_step) & (step <= options.last_step)]


def _records(table: LogTable, rows: NDArray[np.int64], names: tuple[str, ...]) -> Records:
    wanted = [*names, LOSS_SCALE] if LOSS_SCALE in table.columns else list(names)
    # All rows in order need no copy.
    whole = len(rows) == len(table.step) and bool((np.diff(rows) == 1).all())
    index: NDArray[np.int64] | slice = slice(None) if whole else rows
    return Records(
        step=table.step[index].astype(np.float64),
        line=table.line[index],
        columns={name: table.columns[name][index] for name in wanted},
        bad={name: table.nan_rows[name][index] for name in wanted if name in table.nan_rows},
    )


def _span(table: LogTable, run: Run, options: LogOptions) -> RunSpan:
    rows = _within(table, run.rows, options)
    if len(rows) == len(run.rows):
        return RunSpan(first_step=run.first_step, last_step=run.last_step, points=run.points)
    if not len(rows):
        return RunSpan(first_step=np.nan, last_step=np.nan, points=0)
    step = table.step[rows]
    points = int(_carries(table, LOSS)[rows].sum()) if LOSS in table.columns else len(rows)
    return RunSpan(first_step=float(step.min()), last_step=float(step.max()), points=points)
