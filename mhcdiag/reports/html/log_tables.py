"""What was found in one log, as tables."""

import math

from mhcdiag.reports.html.parts import Table, columns
from mhcdiag.reports.spikes_words import detail_text, outcome_text, score_text, span_text, value_text
from mhcdiag.results.check import AllowedEvent
from mhcdiag.results.spikes import KINDS_BY_SEVERITY, Event, LogResult
from mhcdiag.results.wording import step_text

MOST_EVENTS = 200


def events_table(log: LogResult, allowed: tuple[AllowedEvent, ...]) -> Table:
    """All events, the most severe first."""
    found = [(name, event) for name, series in log.series.items() for event in series.events]
    found.sort(key=lambda pair: (KINDS_BY_SEVERITY.index(pair[1].kind), pair[1].run, pair[1].start))
    known = {(one.series, one.kind, one.line) for one in allowed if one.path == log.path}
    rows = tuple(
        (
            str(event.kind) + (" (allowed)" if (name, event.kind, event.line) in known else ""),
            name,
            *_numbers(event),
            outcome_text(event),
            detail_text(event),
        )
        for name, event in found[:MOST_EVENTS]
    )
    numbers = ("run", "line", "steps", "points", "value", "baseline", "deviations", "duration", "area")
    more = len(found) - MOST_EVENTS
    return Table(
        caption="Events",
        columns=columns("event", "series", *numbers, "then", "gradient norm and notes", numeric=numbers),
        rows=rows,
        note=f"And {more:,} more, which the JSON and CSV reports list." if more > 0 else "",
    )


def series_table(log: LogResult) -> Table:
    """The judged series with their published spike scores."""
    rows = tuple(
        (
            name,
            series.source_name,
            f"{series.points:,}",
            score_text(series.spike_score.olmo2),
            score_text(series.spike_score.olmo_core),
            str(len(series.events)),
        )
        for name, series in log.series.items()
    )
    labels = ("series", "name in the log", "points", "spike score, OLMo 2", "spike score, OLMo-core", "events")
    return Table(caption="Series", columns=columns(*labels, numeric=labels[2:]), rows=rows)


def runs_table(log: LogResult) -> Table:
    """The runs inside the log."""
    rows = tuple(
        (str(place), step_text(run.first_step), step_text(run.last_step), f"{run.points:,}")
        for place, run in enumerate(log.runs, 1)
    )
    labels = ("run", "first step", "last step", "points with a loss")
    return Table(caption="Runs", columns=columns(*labels, numeric=labels), rows=rows)


def event_counts(log: LogResult) -> str:
    """How many events of which kind, in words."""
    kinds = [event.kind for series in log.series.values() for event in series.events]
    counts = [f"{kinds.count(kind)} {kind}" for kind in KINDS_BY_SEVERITY if kind in kinds]
    return ", ".join(counts) or "no events"


def _numbers(event: Event) -> tuple[str, ...]:
    return (
        str(event.run + 1),
        f"{event.line:,}",
        span_text(event),
        f"{event.points:,}",
        value_text(event.value),
        value_text(event.baseline),
        "" if math.isnan(event.z) else f"{event.z:.1f}",
        step_text(event.duration),
        value_text(event.area),
    )
