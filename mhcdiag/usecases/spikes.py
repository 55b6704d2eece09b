"""What went wrong in training logs: `mhcdiag.spikes` for one, the report of `mhcdiag spikes` for several."""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mhcdiag.detectors.gap import DRAWN, loss_gap
from mhcdiag.detectors.interface import Floats
from mhcdiag.errors import LogError, SettingError
from mhcdiag.policies.verdicts import SpikeGate, judge
from mhcdiag.ranks import Alone, Ranks, deal
from mhcdiag.results.judged import Unreadable, readable
from mhcdiag.results.spikes import Advice, Comparison, Event, EventKind, JudgedLog, LogResult, SpikesReport
from mhcdiag.results.verdict import combine
from mhcdiag.runlogs import iter_logs, several_logs, split_runs
from mhcdiag.usecases.log_judging import LOSS, judge_log, read_table
from mhcdiag.usecases.options import OURS, LogOptions
from mhcdiag.usecases.same_runs import Judged, counted_once, loss_curve

BACK = 100
"""Steps before the spike to restart from, as PaLM did."""

SKIP = (200, 500)
"""Batches to skip from there, as PaLM did."""

# A blip is over by definition, and a gradient spike alone has cost nothing.
HARMFUL = frozenset({EventKind.SPIKE, EventKind.SHIFT, EventKind.DIVERGENCE, EventKind.NAN})


def advice(result: LogResult) -> tuple[Advice, ...]:
    """Return the advice on the first event of the loss in each run that did not recover; steps are the log's.

    PaLM restarted from a checkpoint about 100 steps before a spike and skipped 200 to 500 batches; the
    same batches from another checkpoint did not spike (arXiv 2204.02311, section 5.1): a spike takes the state of the
    model and the batch together.
    """
    loss = result.series.get("loss")
    first: dict[int, Event] = {}
    for event in loss.events if loss is not None else ():
        # The message of a NaN before the first record has no step to go back from.
        if event.kind in HARMFUL and not event.recovered and math.isfinite(event.start):
            first.setdefault(event.run, event)
    return tuple(_advice(result, event) for event in first.values())


def _advice(result: LogResult, event: Event) -> Advice:
    begin = result.runs[event.run].first_step if event.run < len(result.runs) else 0.0
    target = max(event.start - BACK, begin)
    until = target + SKIP[1]
    text = (
        f"{event.kind} at step {_step(event.start)} did not recover: restart from a checkpoint at or before "
        f"step {_step(target)} and skip {SKIP[0]} to {SKIP[1]} batches from there (PaLM, arXiv 2204.02311, "
        "section 5.1)"
    )
    return Advice(path=result.path, run=event.run, rewind_to=target, skip_until=until, text=text)


def _step(step: float) -> str:
    return f"{step:,.0f}" if step == int(step) else f"{step:g}"


def spikes(
    path: str | os.PathLike[str],
    *,
    log_format: str | None = None,
    loss_key: str | None = None,
    step_key: str | None = None,
    regex: str | None = None,
    series: Sequence[str] = (),
    steps: tuple[float, float] | None = None,
    rule: str = OURS,
    z: float | None = None,
    min_rise: float | None = None,
    window: int | None = None,
    warmup: int | None = None,
) -> LogResult:
    """Find what went wrong in one training log: spikes, shifts, divergence, NaN, and whether the run came back.

    Parameters
    ----------
    path
        A log file, the folder of one run, or `-` for standard input.
    log_format
        Format of the log; None recognises it.
    loss_key, step_key
        Names of loss and step in the log; None takes those that the format knows.
    regex
        Pattern with the groups `step` and `loss`, in place of a format.
    series
        Further series to judge, by their names in the log.
    steps
        First and last step that count, e.g. `(2000, math.inf)`.
    rule
        Detection rule; `mhcdiag explain` lists them.
    z
        Robust deviations that open an event; None: 6, for the gradient norm 5.
    min_rise
        Smallest relative rise; None: 0.02, for the gradient norm 0.5.
    window
        Points of the baseline; None: 128.
    warmup
        Points that are only learned from; None: 64.

    Raises
    ------
    mhcdiag.MhcdiagError
        The log cannot be read or has no loss, or an option cannot be used.
    """
    options = LogOptions(
        log_format=log_format,
        loss_key=loss_key,
        step_key=step_key,
        regex=regex,
        series=tuple(series),
        steps=steps,
        rule=rule,
        z=z,
        min_rise=min_rise,
        window=window,
        warmup=warmup,
    )
    return _judge_one(os.fspath(path), options)


def _judge_one(path: str, options: LogOptions) -> LogResult:
    """Judge the one run behind a path; a folder may hold it several times.

    Raises
    ------
    LogError
        It cannot be read, or there are several runs.
    """
    if path == "-" or not os.path.isdir(path):
        return judge_log(path, options)
    results = [judge_log(log, options) for log in iter_logs(path)]
    look: Judged[LogResult] = Judged(
        result=lambda result: result,
        verdict=lambda result: judge(result, SpikeGate()).verdict,
        told=lambda _, told: told,
        alike=lambda _copy, _kept: True,
    )
    results = counted_once(results, look, lambda log: loss_curve(log, options))
    if len(results) > 1:
        raise several_logs(path, [result.path for result in results])
    return results[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class SpikesRequest:
    """What is asked of some logs."""

    logs: tuple[str, ...]
    """Files, folders, or `-`."""
    options: LogOptions
    """How to read and judge them."""
    gate: SpikeGate
    """Limits."""
    against: str | None = None
    """Log to compare with."""
    advice: bool = False
    """Whether to advise on events that did not recover."""


def _nothing(found: Unreadable) -> None:
    """Nobody waits for it."""


def judge_logs(
    request: SpikesRequest, *, ranks: Ranks | None = None, on_unreadable: Callable[[Unreadable], None] = _nothing
) -> SpikesReport:
    """Judge all logs, and those in folders.

    Parameters
    ----------
    request
        The logs, and what is asked of them.
    ranks
        The processes among which the logs are shared; all of them call this alike.
    on_unreadable
        Called at once with what cannot be read, which is in the report as well.

    Raises
    ------
    SettingError
        The request contradicts itself.
    LogError
        There is nothing to compare.
    """
    if request.against is not None and len(request.logs) != 1:
        raise SettingError("--against compares one log with another: name one LOG")
    request.options.published_rule()

    def read(path: str, look: Callable[[str], JudgedLog]) -> JudgedLog | Unreadable:
        found = readable(path, look)
        if isinstance(found, Unreadable):
            on_unreadable(found)
        return found

    def judged_of(paths: Sequence[str | Unreadable]) -> list[JudgedLog | Unreadable]:
        return [
            path
            if isinstance(path, Unreadable)
            else read(path, lambda path: judge(judge_log(path, request.options), request.gate))
            for path in paths
        ]

    return report_on(request, deal(logs_at(request.logs, on_unreadable), judged_of, ranks or Alone()))


def logs_at(paths: Sequence[str], on_unreadable: Callable[[Unreadable], None]) -> list[str | Unreadable]:
    """Return the logs at the paths; a folder without logs is an entry of its own."""
    found: list[str | Unreadable] = []
    for path in paths:
        logs = readable(path, iter_logs)
        if isinstance(logs, Unreadable):
            on_unreadable(logs)
        found.extend([logs] if isinstance(logs, Unreadable) else logs)
    return found


def report_on(request: SpikesRequest, logs: Sequence[JudgedLog | Unreadable]) -> SpikesReport:
    """Return the report on logs that are judged, with advice and comparison where asked for.

    Raises
    ------
    LogError
        There is nothing to compare.
    """
    logs = _once(request, logs)
    judged = [log for log in logs if isinstance(log, JudgedLog)]
    comparison = None
    if request.against is not None and judged:
        comparison = compare(request.logs[0], request.against, request.options)
    return SpikesReport(
        verdict=combine(log.verdict for log in logs),
        logs=tuple(logs),
        advice=tuple(one for log in judged for one in advice(log.result)) if request.advice else (),
        comparison=comparison,
    )


def _once(request: SpikesRequest, logs: Sequence[JudgedLog | Unreadable]) -> list[JudgedLog | Unreadable]:
    """Leave out logs of folders that are another log's run once more; what the user named is judged as it is."""

    def result(log: JudgedLog | Unreadable) -> LogResult | None:
        return log.result if isinstance(log, JudgedLog) and log.result.path not in request.logs else None

    look = Judged(
        result=result,
        verdict=lambda log: log.verdict,
        told=lambda log, told: replace(log, result=told) if isinstance(log, JudgedLog) else log,
        alike=lambda _copy, _kept: True,
    )
    return counted_once(logs, look, lambda path: loss_curve(path, request.options))


LEAST = 10
"""Common steps without which nothing is compared: the final gap is the median of the last tenth."""


def compare(path: str, other: str, options: LogOptions) -> Comparison:
    """Return the gap between the losses of two logs; of several runs in a log the longest counts.

    Parameters
    ----------
    path, other
        The logs.
    options
        How to read both.

    Raises
    ------
    LogError
        They have no common steps.
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
    """Return steps and losses of the longest run, finite losses only."""
    table = read_table(path, options)
    loss = table.require(LOSS)
    rows = max(split_runs(table), key=lambda run: run.points).rows
    rows = rows[np.isfinite(loss[rows])]
    step, first = np.unique(table.step[rows].astype(np.float64), return_index=True)
    inside = (step >= options.first_step) & (step <= options.last_step)
    return step[inside], loss[rows[first]][inside]
