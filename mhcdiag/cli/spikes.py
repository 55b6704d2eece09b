"""`mhcdiag spikes`: from training logs to events and a verdict."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from mhcdiag.cli.configured import Config, Isolated

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
        help="Kinds that fail: blip,spike,shift,divergence,nan,gradspike,loss_scale; or never.",
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
    ctx: typer.Context,
    logs: Logs,
    log_format: LogFormat = None,
    loss_key: LossKey = None,
    step_key: StepKey = None,
    regex: Regex = None,
    series: Series = None,
    steps: Steps = None,
    list_series: ListSeries = False,
    rule: RuleName = "mhcdiag",
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
    from mhcdiag.cli import options as choices
    from mhcdiag.cli import spikes_output as output
    from mhcdiag.cli.output import check_figure_path

    check_figure_path(plot)
    gate = choices.parse_gate(fail_on, max_spikes, max_spike_score)
    from mhcdiag.cli.options import log_options
    from mhcdiag.cli.spikes_output import Request, exit_code, run_spikes
    from mhcdiag.ranks import Alone, joined_ranks

    request = Request(
        logs=tuple(logs),
        options=log_options(ctx.params),
        gate=gate,
        against=against,
        advice=advice,
    )
    if list_series:
        raise typer.Exit(output.list_series(logs, request.options))
    with nullcontext(Alone()) if follow else joined_ranks() as ranks:
        if follow:
            from mhcdiag.cli.spikes_follow import follow_log

            report = follow_log(request, on_fail=on_fail, idle_timeout=idle_timeout, quiet=quiet or as_json or as_csv)
        else:
            report = run_spikes(request, ranks)
        if not ranks.rank:
            if plot is not None:
                output.draw(report, plot, log_scale=log_scale)
            output.print_report(report, as_json=as_json, as_csv=as_csv, quiet=quiet, context=context)
        ranks.wait()
    raise typer.Exit(exit_code(report, followed=follow))
