"""Options of `mhcdiag check`, each with its help."""

from pathlib import Path
from typing import Annotated

import typer

GATE = "Gate"
BASELINE = "Baseline"
OUTPUT = "Output"
POLICY = "Policy"

Paths = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATH",
        help="Checkpoints, logs and folders of them, in place of the policy's inputs.",
        show_default=False,
    ),
]
Init = Annotated[
    bool,
    typer.Option(
        "--init", help="Write a commented mhcdiag.toml to start from.", rich_help_panel=POLICY, allow_from_autoenv=False
    ),
]
BaselineFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Earlier JSON report that max_ratio and spikes.new compare with.", rich_help_panel=BASELINE
    ),
]
UpdateBaseline = Annotated[
    bool,
    typer.Option(
        "--update-baseline",
        help="Accept what is found: write it to the baseline file.",
        rich_help_panel=BASELINE,
        allow_from_autoenv=False,
    ),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict",
        help="Warnings count as failures; anything assumed or skipped leaves it unjudged.",
        rich_help_panel=GATE,
    ),
]
ExitZero = Annotated[
    bool, typer.Option("--exit-zero", help="End with 0 whatever is found: a trial period.", rich_help_panel=GATE)
]
Format = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="NAME",
        help="What to print: text, json, markdown, csv, html, junit, sarif or github.",
        rich_help_panel=OUTPUT,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="The same as --format json.", rich_help_panel=OUTPUT)]
Output = Annotated[
    list[str] | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Also write a report: .json, .md, .csv, .html, .sarif, .xml (JUnit), or FORMAT:FILE (repeatable).",
        rich_help_panel=OUTPUT,
        show_default=False,
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs", "-j", min=1, help="Inputs at a time (default: 2).", rich_help_panel=OUTPUT, show_default=False
    ),
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Show the gates that pass as well.", rich_help_panel=OUTPUT)
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print what decided and the verdict only.", rich_help_panel=OUTPUT)
]
