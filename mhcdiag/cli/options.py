"""Options that commands share, and choices that read better with a name."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mhcdiag.errors import SettingError
from mhcdiag.results.verdict import GainEvidence, GateOn
from mhcdiag.usecases import options as records

if TYPE_CHECKING:
    from mhcdiag.policies.verdicts import SpikeGate
    from mhcdiag.results.spikes import EventKind

INPUT = "What to read"
MAPS = "How to read the mappings"
GATE = "Gate"
OUTPUT = "Output"


class InputsChoice(StrEnum):
    """`--inputs`."""

    STATIC = "static"
    ALIGNED = "aligned"
    RANDOM = "random"
    EMBEDDING = "embedding"
    TEXT = "text"


class OrientationChoice(StrEnum):
    """`--orientation`."""

    TARGET_ROWS = "target-rows"
    SOURCE_ROWS = "source-rows"


class AssumeChoice(StrEnum):
    """`--assume`."""

    PLAIN = "plain"


class DeviceChoice(StrEnum):
    """`--device`."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


class DtypeChoice(StrEnum):
    """`--dtype`."""

    FLOAT32 = "float32"
    FLOAT64 = "float64"


def parse_sites(text: str | None) -> tuple[int, int] | None:
    """Return `31:60` as a pair.

    Raises
    ------
    typer.BadParameter
        It is no such pair.
    """
    try:
        return None if text is None else records.parse_sites(text)
    except SettingError as error:
        raise typer.BadParameter(str(error)) from error


def parse_thresholds(texts: list[str]) -> dict[str, float]:
    """Return `collapse.survives=0.02` and the like, by name.

    Raises
    ------
    typer.BadParameter
        A text is not of this form.
    """
    found = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            found[name] = float(value)
        except ValueError as error:
            raise typer.BadParameter(f"{text!r} is not CHECK.NAME=VALUE, e.g. collapse.survives=0.02") from error
    return found


Checkpoints = Annotated[
    list[str],
    typer.Argument(
        metavar="CHECKPOINT",
        help="Files, directories or addresses (https://, hf://) of checkpoints, or captured mappings.",
        show_default=False,
    ),
]
Inputs = Annotated[
    InputsChoice | None,
    typer.Option(
        help="Where the input-dependent part comes from (default: aligned where nothing constrains it, else random).",
        rich_help_panel=MAPS,
        show_default=False,
    ),
]
TextFile = Annotated[
    str | None,
    typer.Option(
        "--text",
        metavar="FILE",
        help="What the model runs on with --inputs text (default: a text that ships here).",
        rich_help_panel=MAPS,
        show_default=False,
    ),
]
Tokens = Annotated[int, typer.Option(min=1, help="Number of drawn tokens, or of token ids.", rich_help_panel=MAPS)]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the drawn inputs.", rich_help_panel=MAPS)]
Sites = Annotated[
    str | None,
    typer.Option(metavar="FIRST:LAST", help="Only these sites, counted from 1.", rich_help_panel=MAPS),
]
Key = Annotated[
    str | None, typer.Option(help="Which state dict of a pickle that holds several.", rich_help_panel=INPUT)
]
LayoutName = Annotated[str | None, typer.Option("--layout", help="Read as this layout only.", rich_help_panel=INPUT)]
Assume = Annotated[
    AssumeChoice | None,
    typer.Option(
        help="What nothing explains leaves the residual stream alone; said in the report.",
        rich_help_panel=INPUT,
        show_default=False,
    ),
]
Orientation = Annotated[
    OrientationChoice | None,
    typer.Option(help="What rows of the stored matrix stand for.", rich_help_panel=INPUT, show_default=False),
]
SinkhornIters = Annotated[
    int | None, typer.Option(min=1, help="Sinkhorn iterations.", rich_help_panel=INPUT, show_default=False)
]
SinkhornEps = Annotated[
    float | None, typer.Option(min=0.0, help="Sinkhorn eps.", rich_help_panel=INPUT, show_default=False)
]
Tanh = Annotated[
    bool | None,
    typer.Option(
        "--tanh/--no-tanh",
        help="Whether HC squashes its input part.",
        rich_help_panel=INPUT,
        show_default=False,
    ),
]
Device = Annotated[DeviceChoice, typer.Option(help="Where to compute products.", rich_help_panel=MAPS)]
Dtype = Annotated[
    DtypeChoice | None,
    typer.Option(help="Element type of products (default: float64).", rich_help_panel=MAPS, show_default=False),
]
MaxGain = Annotated[
    float, typer.Option(min=0.0, help="Fail above this gain, forward or backward.", rich_help_panel=GATE)
]
GateOnOption = Annotated[GateOn, typer.Option(help="Which number the gate judges.", rich_help_panel=GATE)]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict", help="Anything assumed, skipped or sampled leaves it unjudged (exit 2).", rich_help_panel=GATE
    ),
]
Require = Annotated[
    GainEvidence | None,
    typer.Option(
        help="What a pass must rest on; less leaves it unjudged (exit 2).", rich_help_panel=GATE, show_default=False
    ),
]
Scan = Annotated[
    bool | None,
    typer.Option(
        "--scan/--no-scan",
        help="Look at all weights as well (default: of local checkpoints up to 4 GB).",
        rich_help_panel=INPUT,
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of the report.", rich_help_panel=OUTPUT)]
Plot = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Draw gain by depth (.png, .svg, .pdf).", rich_help_panel=OUTPUT),
]
Heatmap = Annotated[
    bool,
    typer.Option("--heatmap", help="Add the heat map of all stretches to the plot.", rich_help_panel=OUTPUT),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Every checkpoint in full.", rich_help_panel=OUTPUT)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the verdict lines only.", rich_help_panel=OUTPUT)]


NEVER = "never"


def parse_kinds(text: str) -> "frozenset[EventKind]":
    """Return the kinds of events in a list by commas.

    Raises
    ------
    SettingError
        A word is none of them.
    """
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    if words == [NEVER]:
        return frozenset()
    from mhcdiag.results.spikes import EventKind

    known = {str(kind): kind for kind in EventKind}
    for word in words:
        if word not in known:
            raise SettingError(f"--fail-on {text}: '{word}' is none of {', '.join(known)}, {NEVER}")
    if not words:
        raise SettingError(f"--fail-on: expected some of {', '.join(known)}, or {NEVER}")
    return frozenset(known[word] for word in words)


def parse_gate(fail_on: str, max_spikes: int | None, max_spike_score: float | None) -> "SpikeGate":
    """Return the limits of the gate.

    Raises
    ------
    SettingError
        A word of `fail_on` is no kind of event.
    """
    from mhcdiag.policies.verdicts import SpikeGate

    return SpikeGate(fail_on=parse_kinds(fail_on), max_spikes=max_spikes, max_spike_score=max_spike_score)
