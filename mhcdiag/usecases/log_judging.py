"""From a log, whole or as far as it is written, to its result: what `spikes`, `follow` and `trend` share."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mhcdiag.detectors import LogWatcher, Message, RecordBlock
from mhcdiag.detectors.nonfinite import FAIRSEQ_MINIMUM, MINIMUM
from mhcdiag.results.spikes import SHORT, BinnedCurve, LogResult, RunSpan, SeriesResult, SpikeScore
from mhcdiag.results.wording import counted
from mhcdiag.runlogs import LogTable, ScalerEvent, read_log
from mhcdiag.runlogs.formats import FILE_FORMATS
from mhcdiag.runlogs.gain_names import BACKWARD, FORWARD, best_gains, gain_names
from mhcdiag.runlogs.names import is_evaluation, is_watched
from mhcdiag.runlogs.runs import records_of
from mhcdiag.runlogs.textpass import HALF
from mhcdiag.usecases.log_course import LogCourse, Rows, Taken
from mhcdiag.usecases.options import LogOptions

LOSS = "loss"
GRADIENT_NORM = "grad_norm"
LOSS_SCALE = "loss_scale"
SKIPPED = "skipped"

TABLES = frozenset({"csv", "json", "jsonl", "tensorboard", "wandb", "mlflow"})
"""Formats whose writers may fill gaps with NaN; on a console nobody prints what was not computed."""


RECORDS = frozenset(one.name for one in FILE_FORMATS)
"""Formats without lines, whose records are counted in place of them."""


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
    notes = list(table.notes)
    if LOSS not in table.columns and not options.series:
        notes.append("no loss in the log: its gains are judged (mhcdiag trend holds their level against a limit)")
    course = LogCourse(watcher, _TableRows(table, names), table.writers, (options.first_step, options.last_step))
    # A message counts for the records before it, whether the log is read whole or followed.
    begin = 0
    for event, row in zip(table.scaler_events, table.scaler_rows, strict=True):
        course.feed(records_of(table, slice(begin, row)))
        watcher.message(to_message(event))
        begin = row
    course.feed(records_of(table, slice(begin, len(table.step))))
    course.finish()
    facts = LogFacts(
        path=table.path,
        format=table.format,
        rule=options.rule,
        warmup=options.settings().warmup,
        lines=table.lines,
        loss_lines=table.loss_lines,
        unreadable_lines=table.unreadable_lines,
        merged_records=table.copied + course.merged,
        replaced_records=course.replaced,
        ignored=table.ignored,
        doubt=table.doubt,
        source_names=table.source_names,
        runs=course.spans(),
        numbering="record" if table.format in RECORDS else "line",
        notes=(*notes, *course.notes()),
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
    return LogWatcher(
        tuple(series),
        options.settings(),
        rule=options.published_rule(),
        least_scale=least,
        tabular=log_format in TABLES,
    )


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


class _TableRows:
    """The rows of a table for the course of a log."""

    def __init__(self, table: LogTable, names: tuple[str, ...]) -> None:
        self._table = table
        self._others = other_series(table.nan_rows, names)
        self._wanted = [
            *names,
            *self._others,
            *(name for name in (LOSS_SCALE, SKIPPED) if name in table.columns),
        ]

    def take(self, rows: Rows) -> Taken:
        """Return rows by their numbers."""
        table = self._table
        block = RecordBlock(
            step=table.step[rows].astype(np.float64),
            line=table.line[rows],
            columns={name: table.columns[name][rows] for name in self._wanted},
            bad={name: table.nan_rows[name][rows] for name in self._wanted if name in table.nan_rows},
            others=self._others,
        )
        return Taken(block=block, rank=None if table.rank is None else table.rank[rows])


def other_series(names: Iterable[str], judged: Iterable[str]) -> dict[str, bool]:
    """Return the losses and norms among some series that are not judged, and whether each is an evaluation's."""
    known = frozenset(judged)
    return {name: is_evaluation(name) for name in names if name not in known and is_watched(name)}


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
    merged_records: int
    """Of these, records that share their step with another one."""
    replaced_records: int
    """Of these, records that a resume wrote again."""
    ignored: Mapping[str, int]
    """Of these, lines that make no record, by reason."""
    doubt: str
    """What in the log speaks against how it is read."""
    source_names: dict[str, str]
    """Canonical name -> name in the log."""
    runs: tuple[RunSpan, ...]
    """Runs in order of the log."""
    numbering: Literal["line", "record"]
    """What lines of events count."""
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
    counts = {name: other.points for name, other in watcher.others.items()} | {LOSS_SCALE: watcher.scales}
    for name, points in counts.items():
        if events.get(name):
            series[name] = SeriesResult(
                source_name=facts.source_names.get(name, name),
                points=points,
                spike_score=SpikeScore(olmo2=np.nan, olmo_core=np.nan),
                events=events[name],
                curve=BinnedCurve(run=(), step=(), low=(), high=()),
            )
    return LogResult(
        path=facts.path,
        format=facts.format,
        rule=facts.rule,
        lines=facts.lines,
        loss_lines=facts.loss_lines,
        unreadable_lines=facts.unreadable_lines,
        merged_records=facts.merged_records,
        replaced_records=facts.replaced_records,
        ignored_lines=sum(facts.ignored.values()),
        doubt=facts.doubt,
        numbering=facts.numbering,
        runs=facts.runs,
        series=series,
        notes=(*facts.notes, *_ignored_notes(facts), *_own_notes(watcher, facts.warmup)),
    )


def _ignored_notes(facts: LogFacts) -> Iterator[str]:
    for reason, count in facts.ignored.items():
        if reason != HALF:  # which has a note of its own
            yield f"{counted(count, 'line')} with a loss left out: {reason}"


def _own_notes(watcher: LogWatcher, warmup: int) -> Iterator[str]:
    for name, one in watcher.series.items():
        if one.points and not one.judged:
            yield f"{SHORT} in {name} (no run has more than {warmup} points to learn from)"
        if one.judged and not one.ratio_applies:
            yield f"{name} reaches zero or less: no running-minimum test for divergence"
    for name in watcher.unrecorded():
        yield f"{name} is never finite: taken as an evaluation that was not made"
    for name in watcher.blanks():
        yield f"{name} is NaN in more than half of its records: taken as not recorded there"
    if watcher.overflows:
        yield f"{watcher.overflows:,} overflow messages of the loss scaler: steps skipped while it searches"
    if halvings := watcher.scaler_halvings():
        yield f"the loss scale went down {halvings:,} times"
    if skipped := watcher.skipped_norms():
        yield f"{skipped:,} gradient norms were not finite while the loss scaler searched: skipped steps"
