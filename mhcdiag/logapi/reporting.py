"""From what was watched to the report."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mhcdiag.detectors import LogWatcher
from mhcdiag.logapi.options import LOSS, LOSS_SCALE
from mhcdiag.results.spikes import SHORT, Curve, LogResult, RunSpan, SeriesResult, SpikeScore


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
            curve=Curve(run=(), step=(), low=(), high=()),
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
