"""Options of `mhcdiag spikes`, each with its help."""

from pathlib import Path
from typing import Annotated

import typer

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
