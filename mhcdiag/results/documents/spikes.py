"""The report on one training log as a JSON document, and back; steps are the log's."""

import math

from mhcdiag.results.documents import (
    Json,
    read_count,
    read_flag,
    read_float,
    read_list,
    read_step,
    read_table,
    read_text,
    read_texts,
)
from mhcdiag.results.numbers import step
from mhcdiag.results.spikes import (
    BinnedCurve,
    Companion,
    Event,
    EventKind,
    LogResult,
    RunSpan,
    SeriesResult,
    SpikeScore,
)

# Writing


def log_facts(result: LogResult) -> Json:
    """Return what was read, and how."""
    return {
        "format": result.format,
        "rule": result.rule,
        "lines": result.lines,
        "loss_lines": result.loss_lines,
        "unreadable_lines": result.unreadable_lines,
        "merged_records": result.merged_records,
        "replaced_records": result.replaced_records,
        "ignored_lines": result.ignored_lines,
        "doubt": result.doubt,
        "numbering": result.numbering,
        "runs": [_run(run) for run in result.runs],
        "notes": list(result.notes),
    }


def log_series(result: LogResult) -> Json:
    """Return the judged series with their events."""
    return {name: _series(series) for name, series in result.series.items()}


def spikes_document(result: LogResult) -> Json:
    """Return the whole record, but for the curves, which are there to be drawn."""
    return {"path": result.path, **log_facts(result), "series": log_series(result)}


def event_document(event: Event) -> Json:
    """Return one event as it stands in the report; also what a command run on failure receives."""
    return {
        "kind": str(event.kind),
        "run": event.run,
        "line": event.line,
        "start": step(event.start),
        "peak": step(event.peak),
        "end": step(event.end),
        "value": _value(event.value),
        "baseline": step(event.baseline),
        "z": step(event.z),
        "points": event.points,
        "duration": step(event.duration),
        "area": step(event.area),
        "recovered": event.recovered,
        "recovery_steps": step(event.recovery_steps),
        "grad_norm": _companion(event.companion),
        "note": event.note,
    }


def _run(run: RunSpan) -> Json:
    return {"first_step": step(run.first_step), "last_step": step(run.last_step), "points": run.points}


def _series(series: SeriesResult) -> Json:
    return {
        "source_name": series.source_name,
        "points": series.points,
        "spike_score": {
            "olmo2": step(series.spike_score.olmo2),
            "olmo_core": step(series.spike_score.olmo_core),
        },
        "events": [event_document(event) for event in series.events],
    }


def _companion(companion: Companion | None) -> Json | None:
    if companion is None:
        return None
    return {
        "start": step(companion.start),
        "peak": step(companion.peak),
        "value": step(companion.value),
        "first": companion.first,
    }


def _value(value: float) -> float | int | str | None:
    """A value of the log: NaN and infinity are strings, as in every report."""
    return str(value) if not math.isfinite(value) else step(value)


# Reading


def spikes_of(document: Json) -> LogResult:
    """Return the record that a document was made of; its curves, which it lacks, are empty.

    Parameters
    ----------
    document
        Of `spikes_document`, or one result of the report of `mhcdiag spikes`, which holds more.

    Raises
    ------
    KeyError, TypeError, ValueError
        A part is missing or is not what was written.
    """
    return LogResult(
        path=read_text(document["path"]),
        format=read_text(document["format"]),
        rule=read_text(document["rule"]),
        lines=read_count(document["lines"]),
        loss_lines=read_count(document["loss_lines"]),
        unreadable_lines=read_count(document["unreadable_lines"]),
        # Documents of before these were counted are read as well.
        merged_records=read_count(document.get("merged_records", 0)),
        replaced_records=read_count(document.get("replaced_records", 0)),
        ignored_lines=read_count(document.get("ignored_lines", 0)),
        doubt=read_text(document.get("doubt", "")),
        numbering="record" if document.get("numbering") == "record" else "line",
        runs=tuple(_run_of(one) for one in read_list(document["runs"])),
        series={name: _series_of(one) for name, one in read_table(document["series"]).items()},
        notes=read_texts(document["notes"]),
    )


def _run_of(document: object) -> RunSpan:
    run = read_table(document)
    return RunSpan(
        first_step=read_step(run["first_step"]), last_step=read_step(run["last_step"]), points=read_count(run["points"])
    )


def _series_of(document: object) -> SeriesResult:
    series = read_table(document)
    score = read_table(series["spike_score"])
    return SeriesResult(
        source_name=read_text(series["source_name"]),
        points=read_count(series["points"]),
        spike_score=SpikeScore(olmo2=read_step(score["olmo2"]), olmo_core=read_step(score["olmo_core"])),
        events=tuple(_event_of(one) for one in read_list(series["events"])),
        curve=BinnedCurve(run=(), step=(), low=(), high=()),
    )


def _event_of(document: object) -> Event:
    event = read_table(document)
    recovered, recovery_steps, companion = event["recovered"], event["recovery_steps"], event["grad_norm"]
    return Event(
        kind=EventKind(event["kind"]),
        run=read_count(event["run"]),
        line=read_count(event["line"]),
        start=read_step(event["start"]),
        peak=read_step(event["peak"]),
        end=read_step(event["end"]),
        value=read_float(event["value"]),
        baseline=read_step(event["baseline"]),
        z=read_step(event["z"]),
        points=read_count(event["points"]),
        duration=read_step(event["duration"]),
        area=read_step(event["area"]),
        recovered=None if recovered is None else read_flag(recovered),
        recovery_steps=None if recovery_steps is None else read_float(recovery_steps),
        companion=None if companion is None else _companion_of(companion),
        note=read_text(event["note"]),
    )


def _companion_of(document: object) -> Companion:
    companion = read_table(document)
    return Companion(
        start=read_step(companion["start"]),
        peak=read_step(companion["peak"]),
        value=read_step(companion["value"]),
        first=read_text(companion["first"]),
    )
