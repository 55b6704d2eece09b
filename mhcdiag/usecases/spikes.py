"""A finished log to its report."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mhcdiag.detectors import OURS, RULES, LogWatcher, Message, Records, Rule, Settings
from mhcdiag.detectors.gap import DRAWN, loss_gap
from mhcdiag.detectors.interface import Floats
from mhcdiag.detectors.scaler import FAIRSEQ_MINIMUM, MINIMUM
from mhcdiag.errors import LogError, SettingError
from mhcdiag.results.spikes import SHORT, BinnedCurve, Comparison, LogResult, RunSpan, SeriesResult, SpikeScore
from mhcdiag.runlogs import LogTable, Run, ScalerEvent, read_log, split_runs


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
    """Return the report on what a watcher has seen, as it stands now.

    Arguments: watcher: of the log; facts: about the log.
    """
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


LOSS = "loss"
GRADIENT_NORM = "grad_norm"
LOSS_SCALE = "loss_scale"


@dataclass(frozen=True, kw_only=True, slots=True)
class LogOptions:
    """How a log is read and judged."""

    rule: str = OURS
    """Name of the detection rule."""
    settings: Settings = field(default_factory=Settings)
    """Constants of our rule."""
    series: tuple[str, ...] = ()
    """Further series to judge, by their names in the log."""
    first_step: float = -np.inf
    """Smallest step that counts."""
    last_step: float = np.inf
    """Largest step that counts."""
    log_format: str | None = None
    """Format of the log; recognised when None."""
    loss_key: str | None = None
    """Name of the loss in the log."""
    step_key: str | None = None
    """Name of the step in the log."""
    regex: str | None = None
    """Pattern in place of a format."""

    def published_rule(self) -> Rule | None:
        """Return the rule in place of ours. Raises: SettingError for a name that is none."""
        if self.rule == OURS:
            return None
        for rule in RULES:
            if rule.name == self.rule:
                return rule
        names = ", ".join([OURS, *(rule.name for rule in RULES)])
        raise SettingError(f"there is no rule '{self.rule}'; there are {names}")

    def watcher(self, series: Iterable[str], log_format: str) -> LogWatcher:
        """Return what watches these series of a log.

        Arguments: series: names; log_format: name of the format, which tells the smallest loss scale.
        """
        least = FAIRSEQ_MINIMUM if log_format == "fairseq" else MINIMUM
        return LogWatcher(tuple(series), self.settings, rule=self.published_rule(), least_scale=least)


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
