"""One input of a check as its part of the page shows it."""

from collections.abc import Sequence
from dataclasses import dataclass

from mhcdiag.reports.html.gates import gates_of, input_names, verdict_pill
from mhcdiag.reports.html.parts import Picture, Pill, Table
from mhcdiag.reports.html.tables import (
    event_counts,
    events_table,
    gain_summary,
    per_site,
    runs_table,
    series_table,
    sinkhorn_words,
    site_means,
    worst_spans,
)
from mhcdiag.reports.html.weights_view import weights_fact, weights_table, weights_warnings
from mhcdiag.results.bands import reading, reading_of
from mhcdiag.results.check import CheckedInput, CheckReport
from mhcdiag.results.gain import Definition, Direction, GainResult, Kind
from mhcdiag.results.numbers import text
from mhcdiag.results.spikes import LogResult
from mhcdiag.results.wording import counted, step_text


@dataclass(frozen=True, kw_only=True, slots=True)
class Callout:
    """Something that a reader must not miss."""

    tone: str
    """Class of its colours: fail, unjudged, warning, note."""
    label: str
    """What it is: "skipped", "assumed"."""
    text: str
    """What there is to say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InputView:
    """One checkpoint or log, ready for the template."""

    anchor: str
    """Identifier of its part of the page."""
    path: str
    """The input."""
    name: str
    """Its path without what all inputs share."""
    family: str
    """checkpoint or log."""
    pill: Pill
    """Its verdict."""
    measured: str
    """The main numbers in a few words."""
    gates_text: str
    """How many gates passed."""
    facts: tuple[tuple[str, str], ...]
    """What it is: label and text."""
    callouts: tuple[Callout, ...]
    """Errors first, then what was skipped, assumed or noted."""
    gates: Table
    """Gates on it."""
    pictures: tuple[Picture, ...]
    """Its pictures."""
    tables: tuple[Table, ...]
    """Tables that are shown."""
    spans: tuple[tuple[str, Table], ...]
    """Slot of the heat map and the table beside it, per direction."""
    sinkhorn: str
    """A sentence on the iteration; may be empty."""
    folded: tuple[Table, ...]
    """Long tables, folded."""


def input_view(report: CheckReport, place: int, pictures: Sequence[Picture], *, full: bool) -> InputView:
    """Put one input into words and tables.

    Parameters
    ----------
    report
        The check.
    place
        Position of the input.
    pictures
        What was drawn of it.
    full
        Whether long tables are wanted as well.
    """
    one = report.inputs[place]
    verdicts = [each.verdict for each in report.outcomes_of(one)]
    result = one.result
    spans: tuple[tuple[str, Table], ...] = ()
    tables: tuple[Table, ...] = ()
    folded: tuple[Table, ...] = ()
    if isinstance(result, GainResult):
        tables = (gain_summary(result),)
        spans = tuple((str(each), worst_spans(result, each)) for each in Direction) if full and result.spans else ()
        folded = (site_means(result), *(per_site(result, kind) for kind in Kind)) if full else ()
        if one.weights is not None and one.weights.findings:
            tables = (*tables, weights_table(one.weights))
    elif isinstance(result, LogResult):
        events = events_table(result, report.allowed)
        tables = tuple(table for table in (events, series_table(result)) if table.rows)
        folded = (runs_table(result),)
    return InputView(
        anchor=f"input-{place + 1}",
        path=one.path,
        name=input_names(report)[one.path],
        family=str(one.family),
        pill=verdict_pill(one.verdict, report.outcomes_of(one)),
        measured=_measured(one),
        gates_text=f"{sum(each == 'pass' for each in verdicts)} of {len(verdicts)}" if verdicts else "none ran",
        facts=(*_key_facts(result), *_of_weights(one), ("path", one.path)),
        callouts=_callouts(one, checked=bool(verdicts)),
        gates=gates_of(one, report),
        pictures=tuple(pictures),
        tables=tables,
        spans=spans,
        sinkhorn=sinkhorn_words(result) if isinstance(result, GainResult) else "",
        folded=folded,
    )


def _measured(one: CheckedInput) -> str:
    if isinstance(one.result, GainResult):
        found = one.result
        worst = {each: found.worst[each, Definition.NORM].value for each in Direction}
        return ", ".join(f"{way} {text(value)} ({reading_of(found, way).word})" for way, value in worst.items())
    return event_counts(one.result) if isinstance(one.result, LogResult) else "could not be read"


def _key_facts(result: GainResult | LogResult | None) -> tuple[tuple[str, str], ...]:
    if isinstance(result, GainResult):
        band = reading(result)
        mixing = "" if result.mean_mappings else " (gain 1 by construction)"
        return (
            ("reading", f"{band.word}: {band.meaning}; {band.advice}"),
            ("layout", f"{result.layout}{mixing}"),
            ("size", f"{counted(len(result.sites), 'site')}, {counted(result.streams, 'stream')}"),
            ("inputs", f"{result.inputs}, {counted(result.tokens, 'token')}"),
            *((("measured on", result.tied_to),) if result.tied_to else ()),
        )
    if isinstance(result, LogResult):
        points = sum(run.points for run in result.runs)
        runs = [f"{step_text(run.first_step)} to {step_text(run.last_step)}" for run in result.runs]
        steps = ", ".join(runs[:3]) + (f" and {len(runs) - 3} more runs" if len(runs) > 3 else "")
        return (
            ("found", event_counts(result)),
            ("steps", f"{steps}; {points:,} points with a loss"),
            ("format", f"{result.format}, {result.lines:,} lines"),
            ("rule", result.rule),
        )
    return ()


def _of_weights(one: CheckedInput) -> tuple[tuple[str, str], ...]:
    return () if one.weights is None else (("weights", weights_fact(one.weights)),)


def _callouts(one: CheckedInput, *, checked: bool) -> tuple[Callout, ...]:
    found: list[Callout] = []
    if one.error:
        found.append(Callout(tone="unjudged", label="could not be read", text=one.error))
    elif not checked:
        found.append(Callout(tone="unjudged", label="nothing checked", text="no gate of the policy ran on this input"))
    result = one.result
    if isinstance(result, GainResult):
        found += [
            Callout(tone="fail", label="broken", text=f"site {each.site}: {each.found} ({', '.join(each.tensors)})")
            for each in result.nonfinite
        ]
        if one.weights is not None:
            found += [Callout(tone=tone, label=label, text=said) for tone, label, said in weights_warnings(one.weights)]
        found += [
            Callout(tone="warning", label="skipped", text=f"{each.what}: {each.reason}") for each in result.skipped
        ]
        found += [Callout(tone="warning", label="assumed", text=each) for each in result.assumed]
        found += [Callout(tone="note", label="note", text=each) for each in result.notes]
        if result.excluded:
            names = f"{', '.join(result.excluded[:3])}{', …' if len(result.excluded) > 3 else ''}"
            words = f"{counted(len(result.excluded), 'tensor')} by design ({names})"
            found.append(Callout(tone="note", label="excluded", text=words))
    elif isinstance(result, LogResult):
        if result.unreadable_lines:
            words = f"{result.unreadable_lines:,} of {result.loss_lines:,} lines with a loss give no number"
            found.append(Callout(tone="warning", label="skipped", text=words))
        if result.doubt:
            found.append(Callout(tone="warning", label="doubt", text=result.doubt))
        found += [Callout(tone="note", label="note", text=note) for note in result.notes]
    return tuple(found)
