"""The terminal report of `mhcdiag spikes`, as rich renderables.

Verdict lines come last, because people read the tail, and are never wrapped, because scripts do.
"""

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mhcdiag.reports.console import ASCII_BLOCKS, BLOCKS, VERDICT_STYLES, indented, timeline
from mhcdiag.reports.spikes_words import detail_text, outcome_text, score_text, span_text, value_text
from mhcdiag.reports.text import printable, reason_beside
from mhcdiag.results.judged import Unreadable
from mhcdiag.results.spikes import (
    KINDS_BY_SEVERITY,
    SHORT,
    Event,
    EventKind,
    JudgedLog,
    LogResult,
    SeriesResult,
    SpikesReport,
)
from mhcdiag.results.verdict import Verdict
from mhcdiag.results.wording import step_text

KIND_STYLES = {
    EventKind.NAN: "bold red",
    EventKind.DIVERGENCE: "bold red",
    EventKind.LOSS_SCALE: "bold red",
    EventKind.RANK: "yellow",
    EventKind.ISOLATED_NAN: "yellow",
    EventKind.SHIFT: "yellow",
    EventKind.SPIKE: "yellow",
    EventKind.GRADSPIKE: "cyan",
    EventKind.BLIP: "dim",
}

MOST_EVENTS = 30
"""Events of one log that are shown; the rest is counted, and stands in JSON and CSV."""

Context = Mapping[tuple[int, float], Sequence[tuple[int, str]]]
"""Raw lines, or records, around an event by its line and its first step."""


def log_report(log: JudgedLog, *, width: int, unicode: bool = True, context: Context | None = None) -> RenderableType:
    """Return the report on one log.

    Parameters
    ----------
    log
        What was found, with its verdict.
    width
        Columns of the terminal.
    unicode
        Whether block characters can be shown.
    context
        Raw lines around events, where they were asked for.
    """
    result = log.result
    parts: list[RenderableType] = [Text(printable(result.path), style="bold"), indented(_log_facts(result))]
    for name, series in result.series.items():
        if series.curve.step or name == "loss":  # the others have events only
            parts += [
                Text(),
                *_series(name, series, width=width - 4, blocks=BLOCKS if unicode else ASCII_BLOCKS),
            ]
    parts += [Text(), *_events(result, context or {})]
    parts += [indented(Text(f"note: {printable(note)}", style="dim")) for note in _grouped(result.notes)]
    return Group(*parts)


def verdict_line(log: JudgedLog | Unreadable) -> Text:
    """Return the verdict with what decided it."""
    if isinstance(log, Unreadable):
        reason = reason_beside(log.path, log.reason)
        return Text.assemble(
            ("UNJUDGED", VERDICT_STYLES[Verdict.UNJUDGED]), "  ", printable(log.path), "  ", printable(reason)
        )
    line = Text.assemble((log.verdict.upper(), VERDICT_STYLES[log.verdict]), "  ", printable(log.result.path))
    counts = [f"{count} {kind}" for kind in KINDS_BY_SEVERITY if (count := _count(log.result, kind))]
    line.append(f"  {', '.join(counts) or 'no events'}")
    if any(note.startswith(f"{SHORT} in loss ") for note in log.result.notes):
        line.append("; too short to judge spikes")
    return line.append(f"  ({log.reason})" if log.reason else "")


def report_end(report: SpikesReport) -> list[Text]:
    """Return the lines after all logs: advice, comparison."""
    lines = [Text(f"advice: {printable(one.path)}: {one.text}") for one in report.advice]
    gap = report.comparison
    if gap is not None:
        where = "opens nowhere" if gap.opens is None else f"opens at step {step_text(gap.opens)}"
        common = f"{gap.points:,} common steps {step_text(gap.first_step)} to {step_text(gap.last_step)}"
        largest = f"largest {gap.largest_gap:+.4g} at step {step_text(gap.largest_gap_step)}"
        words = f"{common}; gap {gap.final_gap:+.4g} at the end, {largest}; {where}"
        lines.append(Text(f"against {printable(gap.other)}: {words}"))
    return lines


def _log_facts(result: LogResult) -> Table:
    table = Table.grid(padding=(0, 2))
    unreadable = f", {result.unreadable_lines:,} unreadable" if result.unreadable_lines else ""
    unreadable += f", {result.ignored_lines:,} left out" if result.ignored_lines else ""
    table.add_row("format", f"{result.format}, {result.lines:,} lines{unreadable}")
    runs = ", ".join(f"{step_text(run.first_step)} to {step_text(run.last_step)}" for run in result.runs[:4])
    more = f" and {len(result.runs) - 4} more" if len(result.runs) > 4 else ""
    points = sum(run.points for run in result.runs)
    table.add_row("steps" if len(result.runs) == 1 else f"{len(result.runs)} runs", f"{runs}{more}, {points:,} points")
    table.add_row("rule", result.rule)
    return table


def _series(name: str, series: SeriesResult, *, width: int, blocks: str) -> list[RenderableType]:
    source = f" ({printable(series.source_name)})" if series.source_name != name else ""
    head = Text.assemble(
        (printable(name), "bold"),
        f"{source}  {series.points:,} points   spike score  OLMo 2 {score_text(series.spike_score.olmo2)}   "
        f"OLMo-core {score_text(series.spike_score.olmo_core)}",
    )
    line, marks = timeline(series.curve, series.events, width=width, blocks=blocks)
    parts: list[RenderableType] = [indented(head)]
    if line:
        parts.append(indented(Text(line, no_wrap=True)))
    if marks:
        parts.append(indented(Text(marks, style="bold yellow", no_wrap=True)))
    return parts


def _events(result: LogResult, context: Context) -> list[RenderableType]:
    found = [(name, event) for name, series in result.series.items() for event in series.events]
    if not found:
        return [indented(Text("no events"))]
    found.sort(key=lambda pair: (KINDS_BY_SEVERITY.index(pair[1].kind), -_size(pair[1]), pair[1].run, pair[1].start))
    shown = found[:MOST_EVENTS]
    if not context:
        parts: list[RenderableType] = [indented(_table(shown, result))]
    else:
        parts = []
        for pair in shown:
            parts.append(indented(_table([pair], result)))
            parts += [_raw(number, text, pair[1]) for number, text in context.get((pair[1].line, pair[1].start), ())]
    parts += [
        indented(Text(f"{event.kind} of {printable(name)} at {step_text(event.start)}: {detail}"))
        for name, event in shown
        if (detail := detail_text(event))
    ]
    if len(found) > MOST_EVENTS:
        parts.append(indented(Text(f"and {len(found) - MOST_EVENTS:,} more: --json and --csv list all")))
    return [*parts, Text()]


def _table(pairs: Sequence[tuple[str, Event]], result: LogResult) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    several = len(result.runs) > 1
    for column in ("event", "series", *(("run",) if several else ())):
        table.add_column(column, no_wrap=True)
    for column in (result.numbering, "steps", "peak", "from", "z"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("then", no_wrap=True)
    for name, event in pairs:
        table.add_row(
            Text(event.kind, style=KIND_STYLES[event.kind]),
            printable(name),
            *((str(event.run + 1),) if several else ()),
            f"{event.line:,}",
            span_text(event),
            value_text(event.value),
            value_text(event.baseline),
            "" if event.z != event.z else f"{event.z:.1f}",
            outcome_text(event),
        )
    return table


def _raw(number: int, text: str, event: Event) -> RenderableType:
    style = "bold" if number == event.line else "dim"
    return Padding(
        Text(f"{number:>8,} | {printable(text)}", style=style, no_wrap=True, overflow="ellipsis"),
        (0, 0, 0, 4),
    )


def _count(result: LogResult, kind: EventKind) -> int:
    return sum(event.kind is kind for series in result.series.values() for event in series.events)


def _size(event: Event) -> float:
    return event.z if event.z == event.z else float("inf")


def _grouped(notes: Sequence[str]) -> list[str]:
    """Join the notes on run after run, which a log of twenty runs repeats."""
    runs = [note for note in notes if note.startswith("a new run begins")]
    if len(runs) <= 3:
        return list(notes)
    others = [note for note in notes if note not in runs]
    return [f"{runs[0]}; and {len(runs) - 1} more", *others]
