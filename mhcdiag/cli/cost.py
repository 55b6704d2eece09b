"""`mhcdiag cost`: what the topology costs, by formula and by measurement."""

import sys
from typing import Annotated

import typer

SIZES = "Sizes"

Config = Annotated[
    str | None,
    typer.Argument(metavar="CONFIG", help="A config.json, or a folder with one.", show_default=False),
]
Preset = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="3b, 9b, 27b, v4-flash or v4-pro.", rich_help_panel=SIZES),
]
Width = Annotated[int | None, typer.Option(help="Features C per stream.", rich_help_panel=SIZES, show_default=False)]
Streams = Annotated[int | None, typer.Option(help="Streams n.", rich_help_panel=SIZES, show_default=False)]
Blocks = Annotated[
    int | None,
    typer.Option(help="Transformer blocks; each has two sites.", rich_help_panel=SIZES, show_default=False),
]
Dtype = Annotated[str, typer.Option(help="Element type of the streams: bf16, fp16 or fp32.", rich_help_panel=SIZES)]
Measure = Annotated[bool, typer.Option("--measure", help="Time the toy models on this machine (about a minute).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of the report.")]


def cost(
    config: Config = None,
    preset: Preset = None,
    width: Width = None,
    streams: Streams = None,
    blocks: Blocks = None,
    dtype: Dtype = "bf16",
    measure: Measure = False,
    as_json: AsJson = False,
) -> None:
    """What hyper-connections cost beside the ordinary residual stream: traffic, memory, parameters.

    Sizes come from CONFIG, from --preset (27b by default), or from --width, --streams and --blocks, which win.

    [bold]Examples[/bold]

      mhcdiag cost --preset v4-pro
      mhcdiag cost --width 2560 --blocks 30 --streams 8
      mhcdiag cost --measure
    """
    from mhcdiag.usecases.cost import cost as costs

    result = costs(config, preset=preset, width=width, streams=streams, blocks=blocks, dtype=dtype, measure=measure)
    if as_json:
        from mhcdiag.reports.cost_console import cost_json

        sys.stdout.write(cost_json(result))
        return
    from mhcdiag.cli.output import console
    from mhcdiag.reports.cost_console import cost_report

    console().print(cost_report(result))
