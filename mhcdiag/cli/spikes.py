"""`mhcdiag spikes`: from training logs to events and a verdict."""

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mhcdiag.cli.configured import Config, Isolated
from mhcdiag.cli.options import parse_gate
from mhcdiag.cli.output import check_figure_path, complain, console, or_unreadable, save_figure
from mhcdiag.reports.text import printable
from mhcdiag.results.judged import Unreadable
from mhcdiag.results.verdict import EXIT_CODES, Verdict
from mhcdiag.usecases.options import OURS, LogOptions, parse_steps

if TYPE_CHECKING:
    from rich.text import Text

    from mhcdiag.results.spikes import JudgedLog, SpikesReport
    from mhcdiag.runlogs import LogTable

INPUT = "What to read"
RULE = "Detection"
GATE = "Gate"
LIVE = "While the job runs"
OUTPUT = "Output"

Logs = Annotated[
    list[str],
    typer.Argument(metavar="LOG", help="Log files, folders of logs, run folders, or - for stdin.", show_default=False),
]
LogFormat = Annotated[str | None, typer.Option(metavar="NAME", help="Read as this format.", rich_help_panel=INPUT)]
LossKey = Annotated[
    str | None, typer.Option(metavar="NAME", help="Name of the loss in the log.", rich_help_panel=INPUT)
]
StepKey = Annotated[
    str | None, typer.Option(metavar="NAME", help="Name of the step in the log.", rich_help_panel=INPUT)
]
Regex = Annotated[
    str | None,
    typer.Option(
        metavar="PATTERN",
        help="Read lines with a pattern with the groups step and loss.",
        rich_help_panel=INPUT,
    ),
]
Series = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Judge this series as well (repeatable).",
        rich_help_panel=INPUT,
        show_default=False,
    ),
]
Steps = Annotated[
    str | None, typer.Option(metavar="FIRST:LAST", help="Only these steps, e.g. 2000:", rich_help_panel=INPUT)
]
ListSeries = Annotated[
    bool, typer.Option("--list-series", help="Show what could be read, and stop.", rich_help_panel=INPUT)
]
RuleName = Annotated[
    str,
    typer.Option("--rule", metavar="NAME", help="Detection rule; see mhcdiag explain.", rich_help_panel=RULE),
]
Z = Annotated[
    float | None,
    typer.Option(
        "--z",
        min=0.0,
        help="Robust deviations that open an event (default: 6, gradient norm 5).",
        rich_help_panel=RULE,
        show_default=False,
    ),
]
MinRise = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        help="Smallest relative rise (default: 0.02, gradient norm 0.5).",
        rich_help_panel=RULE,
        show_default=False,
    ),
]
Window = Annotated[
    int | None,
    typer.Option(min=16, help="Points of the baseline (default: 128).", rich_help_panel=RULE, show_default=False),
]
Warmup = Annotated[
    int | None,
    typer.Option(
        min=8,
        help="Points that are only learned from (default: 64).",
        rich_help_panel=RULE,
        show_default=False,
    ),
]
FailOn = Annotated[
    str,
    typer.Option(
        metavar="KINDS",
        help="Kinds that fail: blip,spike,shift,divergence,nan,gradspike,loss_scale,rank,isolated_nan; or never.",
        rich_help_panel=GATE,
    ),
]
MaxSpikes = Annotated[
    int | None,
    typer.Option(min=0, help="Fail with more spikes in the loss.", rich_help_panel=GATE, show_default=False),
]
MaxSpikeScore = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        max=1.0,
        help="Fail above this share of flagged points (OLMo-core).",
        rich_help_panel=GATE,
        show_default=False,
    ),
]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Tail one growing log.", rich_help_panel=LIVE)]
OnFail = Annotated[
    str | None,
    typer.Option(
        metavar="COMMAND",
        help="Run once by the shell at the first failed gate; MHCDIAG_EVENT holds the event as JSON.",
        rich_help_panel=LIVE,
    ),
]
IdleTimeout = Annotated[
    float | None,
    typer.Option(min=0.0, metavar="SECONDS", help="End when the log stands still this long.", rich_help_panel=LIVE),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of the report.", rich_help_panel=OUTPUT)]
AsCsv = Annotated[
    bool, typer.Option("--csv", help="Print the events as CSV instead of the report.", rich_help_panel=OUTPUT)
]
Plot = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Draw loss and gradient norm with the events (.png, .svg, .pdf).",
        rich_help_panel=OUTPUT,
    ),
]
LogScale = Annotated[bool, typer.Option("--log-scale", help="Logarithmic axes in the plot.", rich_help_panel=OUTPUT)]
ContextLines = Annotated[
    int,
    typer.Option("--context", min=0, metavar="N", help="Show N raw lines around each event.", rich_help_panel=OUTPUT),
]
Against = Annotated[
    str | None,
    typer.Option(metavar="LOG", help="Show the loss gap to another run, by step.", rich_help_panel=OUTPUT),
]
Advice = Annotated[
    bool,
    typer.Option("--advice", help="Say how far to rewind and what to skip.", rich_help_panel=OUTPUT),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the verdict lines only.", rich_help_panel=OUTPUT)]


def spikes(
    logs: Logs,
    log_format: LogFormat = None,
    loss_key: LossKey = None,
    step_key: StepKey = None,
    regex: Regex = None,
    series: Series = None,
    steps: Steps = None,
    list_series: ListSeries = False,
    rule: RuleName = OURS,
    z: Z = None,
    min_rise: MinRise = None,
    window: Window = None,
    warmup: Warmup = None,
    fail_on: FailOn = "nan,divergence,loss_scale",
    max_spikes: MaxSpikes = None,
    max_spike_score: MaxSpikeScore = None,
    follow: Follow = False,
    on_fail: OnFail = None,
    idle_timeout: IdleTimeout = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    plot: Plot = None,
    log_scale: LogScale = False,
    context: ContextLines = 0,
    against: Against = None,
    advice: Advice = False,
    quiet: Quiet = False,
    _isolated: Isolated = False,
    _config: Config = None,
) -> None:
    """What went wrong in a training log: spikes, divergence, NaN, and whether the run came back.

    Exit codes: 0 nothing of --fail-on, 1 a gate failed, 2 could not judge.

    [bold]Examples[/bold]

      mhcdiag spikes run.log
      mhcdiag spikes runs/ --fail-on nan,divergence,spike --json
      mhcdiag spikes --follow train.log --on-fail 'scancel $SLURM_JOB_ID'
      mhcdiag spikes mhc.log --against baseline.log --plot gap.png
    """
    check_figure_path(plot)
    gate = parse_gate(fail_on, max_spikes, max_spike_score)
    options = LogOptions(
        log_format=log_format,
        loss_key=loss_key,
        step_key=step_key,
        regex=regex,
        series=tuple(series or ()),
        steps=None if steps is None else parse_steps(steps),
        rule=rule,
        z=z,
        min_rise=min_rise,
        window=window,
        warmup=warmup,
    )
    if list_series:
        raise typer.Exit(_list_series(logs, options))
    from mhcdiag.ranks import Alone, joined_ranks
    from mhcdiag.usecases.spikes import SpikesRequest, judge_logs

    request = SpikesRequest(logs=tuple(logs), options=options, gate=gate, against=against, advice=advice)
    # Ranks share logs, not the lines of one: a log that is followed is read by each process that was asked to.
    with nullcontext(Alone()) if follow else joined_ranks() as ranks:
        if follow:
            from mhcdiag.cli.follow import follow_log

            report = follow_log(request, on_fail=on_fail, idle_timeout=idle_timeout, quiet=quiet or as_json or as_csv)
        else:
            report = judge_logs(request, ranks=ranks, on_unreadable=lambda found: complain(found.reason))
        if not ranks.rank:
            if plot is not None:
                _draw(report, plot, log_scale=log_scale)
            _print_report(report, options, as_json=as_json, as_csv=as_csv, quiet=quiet, context=context)
        ranks.wait()
    raise typer.Exit(_exit_code(report, followed=follow))


def _print_report(
    report: "SpikesReport", options: LogOptions, *, as_json: bool, as_csv: bool, quiet: bool, context: int
) -> None:
    """Print the report in the form asked for; what could not be read stands on stderr already."""
    if as_json or as_csv:
        from mhcdiag.reports.json_documents import spikes_csv, spikes_json

        sys.stdout.write(spikes_json(report) + "\n" if as_json else spikes_csv(report))
        return
    from mhcdiag.reports.spikes_console import log_report, report_end, verdict_line

    judged = [log for log in report.logs if not isinstance(log, Unreadable)]
    if not judged:
        return
    out = console()
    unicode = (out.encoding or "").lower().startswith("utf")
    for log in judged if not quiet else ():
        raw = _context(log, context, options) if context else None
        out.print(log_report(log, width=out.width, unicode=unicode, context=raw))
    for line in (*report_end(report), *(verdict_line(log) for log in report.logs)):
        out.print(line, soft_wrap=True)


def _context(log: "JudgedLog", count: int, options: LogOptions) -> dict[tuple[int, float], list[tuple[int, str]]]:
    from mhcdiag.runlogs.context import context_lines, context_records
    from mhcdiag.usecases.log_judging import read_table

    result = log.result
    places = {(event.line, event.start) for series in result.series.values() for event in series.events}
    if result.numbering == "line":
        return context_lines(result.path, places, count)
    table = or_unreadable(result.path, lambda path: read_table(path, options))
    return {} if isinstance(table, Unreadable) else context_records(table, places, count)


def _draw(report: "SpikesReport", path: Path, *, log_scale: bool) -> None:
    """Draw all logs that could be read; nothing is written where none was."""
    judged = [log for log in report.logs if not isinstance(log, Unreadable)]
    if judged:
        from mhcdiag.plots.timeline import timeline_figure

        results = [log.result for log in judged]
        save_figure(timeline_figure(results, log_scale=log_scale, comparison=report.comparison), path)


def _list_series(paths: Sequence[str], options: LogOptions) -> int:
    """Print the series of every log; return 2 if one could not be read, else 0."""
    from mhcdiag.usecases.log_judging import read_table
    from mhcdiag.usecases.spikes import logs_at

    found = logs_at(paths, lambda found: complain(found.reason))
    tables = [
        log if isinstance(log, Unreadable) else or_unreadable(log, lambda path: read_table(path, options))
        for log in found
    ]
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


def _plain(text: str) -> "Text":
    from rich.text import Text

    return Text(printable(text))


def _exit_code(report: "SpikesReport", *, followed: bool) -> int:
    """Return the exit code: a log that was followed and tripped nothing ends with 0, if it could be read."""
    from mhcdiag.policies.verdicts import mostly_unreadable

    readable = all(
        not isinstance(log, Unreadable) and log.result.runs and not mostly_unreadable(log.result) for log in report.logs
    )
    if followed and report.verdict is Verdict.UNJUDGED and readable:
        return 0
    return EXIT_CODES[report.verdict]
