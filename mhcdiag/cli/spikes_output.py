"""What `mhcdiag spikes` prints and draws."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mhcdiag.cli.output import console, or_unreadable, save_figure
from mhcdiag.detectors.advice import advice
from mhcdiag.errors import SettingError
from mhcdiag.policies.verdicts import SpikeGate, judge, mostly_unreadable
from mhcdiag.ranks import Alone, Ranks, deal
from mhcdiag.reports.text import printable
from mhcdiag.results.judged import Unreadable
from mhcdiag.results.spikes import JudgedLog, SpikesReport
from mhcdiag.results.verdict import EXIT_CODES, Verdict, combine
from mhcdiag.usecases.spikes import LogOptions, compare, spikes

if TYPE_CHECKING:
    from rich.text import Text

    from mhcdiag.runlogs import LogTable
    from mhcdiag.usecases.spikes import LogOptions


def log_paths(paths: Sequence[str]) -> list[str | Unreadable]:
    """Return the logs behind the paths; a folder without logs is an entry of its own."""
    from mhcdiag.runlogs import iter_logs

    found: list[str | Unreadable] = []
    for path in paths:
        logs = or_unreadable(path, iter_logs)
        found.extend([logs] if isinstance(logs, Unreadable) else logs)
    return found


def print_report(report: SpikesReport, *, as_json: bool, as_csv: bool, quiet: bool, context: int) -> None:
    """Print the report in the form asked for; what could not be read stands on stderr already."""
    if as_json or as_csv:
        from mhcdiag.reports.spikes_json import spikes_csv, spikes_json

        sys.stdout.write(spikes_json(report) + "\n" if as_json else spikes_csv(report))
        return
    from mhcdiag.reports.spikes_console import log_report, report_end, verdict_line

    judged = [log for log in report.logs if isinstance(log, JudgedLog)]
    if not judged:
        return
    out = console()
    unicode = (out.encoding or "").lower().startswith("utf")
    for log in judged if not quiet else ():
        raw = _context(log, context) if context else None
        out.print(log_report(log, width=out.width, unicode=unicode, context=raw))
    for line in (*report_end(report), *(verdict_line(log) for log in report.logs)):
        out.print(line, soft_wrap=True)


def list_series(paths: Sequence[str], options: "LogOptions") -> int:
    """Print the series of every log; return 2 if one could not be read, else 0."""
    from mhcdiag.usecases.spikes import read_table

    tables = [or_unreadable(path, lambda path: read_table(path, options)) for path in paths]
    for table in tables:
        if not isinstance(table, Unreadable):
            _print_series(table)
    return EXIT_CODES[Verdict.UNJUDGED if any(isinstance(table, Unreadable) for table in tables) else Verdict.PASS]


def _print_series(log: "LogTable") -> None:
    import numpy as np
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("series", "name in the log", "points"):
        table.add_column(column, justify="right" if column == "points" else "left", overflow="fold")
    for name, values in log.columns.items():
        points = int(np.count_nonzero(np.isfinite(values)))
        table.add_row(_plain(name), _plain(log.source_names.get(name, name)), f"{points:,}")
    out = console()
    head = f"{printable(log.path)}: format {log.format}, {log.lines:,} lines"
    out.print(head, style="bold", markup=False, soft_wrap=True)
    out.print(table)


def draw(report: SpikesReport, path: Path, *, log_scale: bool) -> None:
    """Draw all logs that could be read; nothing is written where none was."""
    judged = [log for log in report.logs if isinstance(log, JudgedLog)]
    if judged:
        from mhcdiag.plots.timeline import timeline_figure

        results = [log.result for log in judged]
        save_figure(timeline_figure(results, log_scale=log_scale, comparison=report.comparison), path)


def _plain(text: str) -> "Text":
    from rich.text import Text

    return Text(printable(text))


def _context(log: JudgedLog, count: int) -> dict[int, list[tuple[int, str]]]:
    from mhcdiag.runlogs.sources import context_lines

    lines = {event.line for series in log.result.series.values() for event in series.events}
    return context_lines(log.result.path, lines, count)


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What the command line asks for."""

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


def run_spikes(request: Request, ranks: Ranks | None = None) -> SpikesReport:
    """Judge all logs, dealt out to the ranks. Raises: SettingError, LogError when there is nothing to compare."""
    if request.against is not None and len(request.logs) != 1:
        raise SettingError("--against compares one log with another: name one LOG")
    request.options.published_rule()

    def judged_of(paths: Sequence[str | Unreadable]) -> list[JudgedLog | Unreadable]:
        return [
            path
            if isinstance(path, Unreadable)
            else or_unreadable(path, lambda path: judge(spikes(path, request.options), request.gate))
            for path in paths
        ]

    return make_report(request, deal(log_paths(request.logs), judged_of, ranks or Alone()))


def make_report(request: Request, logs: list[JudgedLog | Unreadable]) -> SpikesReport:
    """Return the report of the command, with advice and comparison where asked for."""
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


def exit_code(report: SpikesReport, *, followed: bool) -> int:
    """Return the exit code: a log that was followed and tripped nothing ends with 0, if it could be read."""
    readable = all(
        isinstance(log, JudgedLog) and log.result.runs and not mostly_unreadable(log.result) for log in report.logs
    )
    if followed and report.verdict is Verdict.UNJUDGED and readable:
        return 0
    return EXIT_CODES[report.verdict]
