"""From a log, whole or as far as it is written, to its result: what `spikes`, `follow` and `trend` share."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mhcdiag.detectors import LogWatcher, Message, RecordBlock
from mhcdiag.detectors.nonfinite import FAIRSEQ_MINIMUM, MINIMUM
from mhcdiag.results.spikes import SHORT, BinnedCurve, LogResult, RunSpan, SeriesResult, SpikeScore
from mhcdiag.runlogs import LogTable, Run, ScalerEvent, read_log, split_runs
from mhcdiag.runlogs.gain_names import BACKWARD, FORWARD, best_gains, gain_names
from mhcdiag.usecases.options import LogOptions

LOSS = "loss"
GRADIENT_NORM = "grad_norm"
LOSS_SCALE = "loss_scale"


def judge_log(path: str, options: LogOptions) -> LogResult:
    """Read a log and find its events.

    Parameters
    ----------
    path
        A file, a folder of one run, or `-` for standard input.
    options
        How to read and judge it.

    Raises
    ------
    LogError
        The log cannot be read, or a series is missing.
    SettingError
        The options name what there is not.
    """
    options.published_rule()  # a wrong name is refused before a large log is read
    return judge_table(read_table(path, options), options)


def read_table(path: str, options: LogOptions, *, keep: Callable[[str], bool] | None = None) -> LogTable:
    """Read a log as the options say.

    Parameters
    ----------
    path
        As for `judge_log`.
    options
        How to read it; the series that they name are kept however many there are.
    keep
        Says the same of further names.

    Raises
    ------
    LogError
        The log cannot be read.
    SettingError
        There is no such format, or the pattern is none.
    """
    return read_log(
        path,
        log_format=options.log_format,
        loss_key=options.loss_key,
        step_key=options.step_key,
        regex=options.regex,
        keep=lambda name: name in options.series or (keep is not None and keep(name)),
    )


def judge_table(table: LogTable, options: LogOptions) -> LogResult:
    """Find the events of a log that is read already.

    Raises
    ------
    LogError
        A series is missing.
    """
    names = judged_series(table, options)
    watcher = watcher_of(options, names, log_format=table.format)
    messages = [to_message(event) for event in table.scaler_events]
    spans: list[RunSpan] = []
    notes = list(table.notes)
    if LOSS not in table.columns and not options.series:
        notes.append("no loss in the log: its gains are judged (mhcdiag trend holds their level against a limit)")
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
        warmup=options.settings().warmup,
        lines=table.lines,
        loss_lines=table.loss_lines,
        unreadable_lines=table.unreadable_lines,
        source_names=table.source_names,
        runs=tuple(spans),
        notes=tuple(notes),
    )
    return report(watcher, facts)


def watcher_of(options: LogOptions, series: Iterable[str], *, log_format: str) -> LogWatcher:
    """Return what watches these series of a log.

    Parameters
    ----------
    series
        Their names.
    log_format
        Name of the format: in logs of fairseq the smallest loss scale is far below the 1 of other trainers.
    """
    least = FAIRSEQ_MINIMUM if log_format == "fairseq" else MINIMUM
    return LogWatcher(tuple(series), options.settings(), rule=options.published_rule(), least_scale=least)


def judged_series(table: LogTable, options: LogOptions) -> tuple[str, ...]:
    """Return the names of the series to judge: the loss, the gradient norm, and those asked for.

    A log without a loss that carries gains, as our own `Monitor` writes it, is judged by these.

    Raises
    ------
    LogError
        One is missing.
    """
    for name in options.series:
        table.require(name)
    if not options.series and LOSS not in table.columns and (gains := gain_names(list(table.columns))):
        return tuple(one.name for way in (FORWARD, BACKWARD) for one in best_gains(gains, way))
    if not options.series:
        table.require(LOSS)
    first = [name for name in (LOSS, GRADIENT_NORM) if name in table.columns]
    return tuple(dict.fromkeys([*first, *options.series]))


def to_message(event: ScalerEvent) -> Message:
    """Return a message of the reader as the watcher takes it."""
    return Message(line=event.line, step=event.step, kind=event.kind, loss_scale=event.loss_scale, text=event.text)


def carries(table: LogTable, name: str) -> NDArray[np.bool_]:
    """Return which rows carry a series: a NaN that the run produced is a value, a row without the key is none."""
    found: NDArray[np.bool_] = np.isfinite(table.columns[name])
    return found | table.nan_rows[name] if name in table.nan_rows else found


def _segments(table: LogTable, run: Run) -> Iterator[tuple[NDArray[np.int64], float | None]]:
    """Yield the rows of a run in the order in which they were written, cut where a resume went back.

    Rows that a resume replaced are judged as well: the spike for whose sake somebody went back is among them.
    """
    if not len(run.replaced):
        yield run.rows, None
        return
    rows = np.sort(np.concatenate([run.rows, run.replaced]))
    step = table.step.astype(np.float64)
    with_loss = rows[carries(table, LOSS)[rows]] if LOSS in table.columns else rows
    back = with_loss[1:][np.diff(step[with_loss]) < 0]
    bounds = [0, *np.searchsorted(rows, back).tolist(), len(rows)]
    for index, (first, after) in enumerate(pairwise(bounds)):
        segment = rows[first:after]
        yield segment, float(step[segment[0]]) if index else None


def _within(table: LogTable, rows: NDArray[np.int64], options: LogOptions) -> NDArray[np.int64]:
    if options.first_step == -np.inf and options.last_step == np.inf:
        return rows
    step = table.step[rows]
    return rows[(step >= options.first_step) & (step <= options.last_step)]


def _records(table: LogTable, rows: NDArray[np.int64], names: tuple[str, ...]) -> RecordBlock:
    wanted = [*names, LOSS_SCALE] if LOSS_SCALE in table.columns else list(names)
    # All rows in order need no copy, which a log of a million steps would feel.
    whole = len(rows) == len(table.step) and bool((np.diff(rows) == 1).all())
    index: NDArray[np.int64] | slice = slice(None) if whole else rows
    return RecordBlock(
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
    points = int(carries(table, LOSS)[rows].sum()) if LOSS in table.columns else len(rows)
    return RunSpan(first_step=float(step.min()), last_step=float(step.max()), points=points)


@dataclass(frozen=True, kw_only=True, slots=True)
class LogFacts:
    """What is known of a log beside its series."""

    path: str
    """As the user named it."""
    format: str
    """Format that read it."""
    rule: str
    """Name of the detection rule."""
    warmup: int
    """Points below which spikes are not judged."""
    lines: int
    """Lines of the log."""
    loss_lines: int
    """Lines with the key of the loss."""
    unreadable_lines: int
    """Of these, lines with neither number nor NaN."""
    source_names: dict[str, str]
    """Canonical name -> name in the log."""
    runs: tuple[RunSpan, ...]
    """Runs in order of the log."""
    notes: tuple[str, ...]
    """What the reader had to say."""


def report(watcher: LogWatcher, facts: LogFacts) -> LogResult:
    """Return the result of what a watcher has seen, as it stands now."""
    events = watcher.events()
    series: dict[str, SeriesResult] = {}
    for name, one in watcher.series.items():
        if one.points or name == LOSS:
            series[name] = SeriesResult(
                source_name=facts.source_names.get(name, name),
                points=one.points,
                spike_score=one.scores.score(),
                events=events.get(name, ()),
                curve=one.curve.curve(),
            )
    if LOSS_SCALE in events:
        series[LOSS_SCALE] = SeriesResult(
            source_name=facts.source_names.get(LOSS_SCALE, LOSS_SCALE),
            points=watcher.scales,
            spike_score=SpikeScore(olmo2=np.nan, olmo_core=np.nan),
            events=events[LOSS_SCALE],
            curve=BinnedCurve(run=(), step=(), low=(), high=()),
        )
    return LogResult(
        path=facts.path,
        format=facts.format,
        rule=facts.rule,
        lines=facts.lines,
        loss_lines=facts.loss_lines,
        unreadable_lines=facts.unreadable_lines,
        runs=facts.runs,
        series=series,
        notes=(*facts.notes, *_own_notes(watcher, facts.warmup)),
    )


def _own_notes(watcher: LogWatcher, warmup: int) -> Iterator[str]:
    for name, one in watcher.series.items():
        if one.points and not one.judged:
            yield f"{SHORT} in {name} (no run has more than {warmup} points to learn from)"
        if one.judged and not one.ratio_applies:
            yield f"{name} reaches zero or less: no running-minimum test for divergence"
    if watcher.overflows:
        yield f"{watcher.overflows:,} overflow messages of the loss scaler: steps skipped while it searches"
    if halvings := watcher.scaler_halvings():
        yield f"the loss scale went down {halvings:,} times"
    if skipped := watcher.skipped_norms():
        yield f"{skipped:,} gradient norms were not finite while the loss scaler searched: skipped steps"
