"""Options of `mhcdiag toy`, each with its help."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

MODEL = "Model"
TRAINING = "Training"
OUTPUT = "Output"
GATE = "Gate"


class StreamDtype(StrEnum):
    """`--stream-dtype`."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


class Preset(StrEnum):
    """`--preset`."""

    GAIN = "gain"
    """The gain explodes at a learning rate at which the loss stays calm."""
    SPIKE = "spike"
    """The loss of hyper-connections spikes, at a learning rate far above normal."""


Topology = Annotated[
    str,
    typer.Option(metavar="NAME", help="residual, hc, mhc, mhc-lite or identity-hc.", rich_help_panel=MODEL),
]
Topologies = Annotated[str, typer.Option(metavar="LIST", help="Topologies by commas.", rich_help_panel=MODEL)]
Out = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="Folder to write; must not exist.", rich_help_panel=OUTPUT)
]
Depth = Annotated[int, typer.Option(help="Transformer blocks; each has two sites.", rich_help_panel=MODEL)]
Width = Annotated[int, typer.Option(help="Features per stream.", rich_help_panel=MODEL)]
Heads = Annotated[int, typer.Option(help="Attention heads.", rich_help_panel=MODEL)]
Streams = Annotated[int, typer.Option(help="Residual streams n.", rich_help_panel=MODEL)]
SinkhornIters = Annotated[int, typer.Option(help="Sinkhorn iterations of mhc.", rich_help_panel=MODEL)]
StoredAs = Annotated[
    StreamDtype, typer.Option("--stream-dtype", help="Element type of the stored streams.", rich_help_panel=MODEL)
]
QkNorm = Annotated[bool, typer.Option("--qk-norm", help="Normalise queries and keys.", rich_help_panel=MODEL)]
Steps = Annotated[
    int | None,
    typer.Option(help="Optimiser steps (default: 200; preset spike: 600).", rich_help_panel=TRAINING),
]
LearningRate = Annotated[
    float | None,
    typer.Option("--lr", help="Learning rate (default: 5e-3; preset spike: 2e-2).", rich_help_panel=TRAINING),
]
Warmup = Annotated[
    int | None,
    typer.Option(help="Steps of rising learning rate (default: 20; preset spike: 100).", rich_help_panel=TRAINING),
]
Clip = Annotated[float, typer.Option(help="Largest gradient norm; 0: no clipping.", rich_help_panel=TRAINING)]
Batch = Annotated[int, typer.Option(help="Sequences per step.", rich_help_panel=TRAINING)]
Context = Annotated[int, typer.Option(help="Characters per sequence.", rich_help_panel=TRAINING)]
Seed = Annotated[int, typer.Option(help="Of parameters and batches.", rich_help_panel=TRAINING)]
Text = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Text to learn (default: the source of Python's standard library).",
        rich_help_panel=TRAINING,
        show_default=False,
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.", rich_help_panel=TRAINING)]
LogEvery = Annotated[int, typer.Option(help="Steps between measurements of the gain.", rich_help_panel=OUTPUT)]
Checkpoints = Annotated[int, typer.Option(help="Checkpoints, evenly spaced.", rich_help_panel=OUTPUT)]
Jobs = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Models trained at once (default: one per CPU core; on a GPU one).",
        rich_help_panel=TRAINING,
        show_default=False,
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace an earlier run in DIR.", rich_help_panel=OUTPUT)]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run in DIR.", rich_help_panel=OUTPUT)]
PresetChoice = Annotated[
    Preset, typer.Option("--preset", help="Steps, learning rate and warmup.", rich_help_panel=TRAINING)
]
MaxGain = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        help="Fail if a measured gain is above this, or the loss NaN (default: never fail).",
        rich_help_panel=GATE,
        show_default=False,
    ),
]

PRESETS = {
    Preset.GAIN: {"steps": 200, "learning_rate": 5e-3, "warmup": 20},
    # At this rate a short warmup makes early losses of every topology jump, the residual baseline's too.
    Preset.SPIKE: {"steps": 600, "learning_rate": 2e-2, "warmup": 100},
}


def preset_values(
    preset: Preset, *, steps: int | None, learning_rate: float | None, warmup: int | None
) -> dict[str, float | int]:
    """Steps, learning rate and warmup: the option where it was given, else the preset's."""
    given = {"steps": steps, "learning_rate": learning_rate, "warmup": warmup}
    return PRESETS[preset] | {name: value for name, value in given.items() if value is not None}
