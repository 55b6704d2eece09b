"""`mhcdiag toy`: small models to see the gain explode, and not to."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mhcdiag.cli.output import console, save_figure
from mhcdiag.errors import MhcdiagError, SettingError
from mhcdiag.toy.settings import ToySettings

if TYPE_CHECKING:
    from mhcdiag.results.gain import GainResult
    from mhcdiag.results.toy import StepRow, ToyRun
    from mhcdiag.toy.together import OnStepOf

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


toy = typer.Typer(name="toy", no_args_is_help=True, help="Train small models that differ in their residual streams.")


@toy.command()
def train(
    out: Out,
    topology: Topology = "hc",
    depth: Depth = 30,
    width: Width = 32,
    heads: Heads = 2,
    streams: Streams = 4,
    sinkhorn_iters: SinkhornIters = 20,
    stream_dtype: StoredAs = StreamDtype.FP32,
    qk_norm: QkNorm = False,
    steps: Steps = None,
    lr: LearningRate = None,
    warmup: Warmup = None,
    clip: Clip = 1.0,
    batch: Batch = 4,
    context: Context = 32,
    seed: Seed = 0,
    text: Text = None,
    device: Device = "auto",
    log_every: LogEvery = 10,
    checkpoints: Checkpoints = 5,
    max_gain: MaxGain = None,
    force: Force = False,
    resume: Resume = False,
) -> None:
    """Train one small character-level transformer on text that is on this machine.

    Writes checkpoints, captured mappings and train.jsonl into DIR. A loss that becomes NaN ends the run and is a
    result: exit code 0 without --max-gain.

    [bold]Examples[/bold]

      mhcdiag toy train --topology hc --out runs/hc
      mhcdiag gain runs/hc/step_000200.safetensors
      mhcdiag trend runs/hc --log runs/hc/train.jsonl
    """
    settings = ToySettings(
        topology=topology,
        depth=depth,
        width=width,
        heads=heads,
        streams=streams,
        sinkhorn_iters=sinkhorn_iters,
        stream_dtype=str(stream_dtype),
        qk_norm=qk_norm,
        clip=clip,
        batch=batch,
        context=context,
        seed=seed,
        text=text,
        device=device,
        log_every=log_every,
        checkpoints=checkpoints,
        **preset_values(Preset.GAIN, steps=steps, learning_rate=lr, warmup=warmup),  # type: ignore[arg-type]
    )
    raise typer.Exit(run_one(settings, out, force=force, resume=resume, max_gain=max_gain))


@toy.command()
def compare(
    out: Out,
    topologies: Topologies = "residual,hc,mhc",
    preset: PresetChoice = Preset.GAIN,
    depth: Depth = 30,
    width: Width = 32,
    steps: Steps = None,
    lr: LearningRate = None,
    warmup: Warmup = None,
    seed: Seed = 0,
    text: Text = None,
    device: Device = "auto",
    jobs: Jobs = None,
    max_gain: MaxGain = None,
    force: Force = False,
    resume: Resume = False,
) -> None:
    """Train several topologies on the same data from the same seed, and set them side by side.

    Writes one folder per topology, and compare.png: loss, gradient norm, and gain over steps and sites.

    [bold]Examples[/bold]

      mhcdiag toy compare --out runs
      mhcdiag toy compare --preset spike --topologies residual,hc,mhc,identity-hc --out spike
    """
    names = [name.strip() for name in topologies.split(",") if name.strip()]
    values = preset_values(preset, steps=steps, learning_rate=lr, warmup=warmup)
    settings = [
        ToySettings(
            topology=name,
            depth=depth,
            width=width,
            seed=seed,
            text=text,
            device=device,
            **values,  # type: ignore[arg-type]
        )
        for name in names
    ]
    raise typer.Exit(run_several(settings, out, jobs=jobs, force=force, resume=resume, max_gain=max_gain))


FIGURE = "compare.png"


def run_one(settings: ToySettings, out: Path, *, force: bool, resume: bool, max_gain: float | None) -> int:
    """Train one model and print what came of it; return the exit code."""
    from mhcdiag.reports.toy_console import toy_lines
    from mhcdiag.toy.together import PlannedRun, train_together
    from mhcdiag.toy.topologies import topology_for

    topology_for(settings)
    planned = PlannedRun(settings=settings, folder=out, force=force, resume=resume)
    with _progress([settings]) as on_step:
        (run,) = train_together([planned], jobs=1, on_step=on_step)
    return _finish([run], toy_lines(run, spikes_of(run)), max_gain=max_gain)


def run_several(
    settings: Sequence[ToySettings], out: Path, *, jobs: int | None, force: bool, resume: bool, max_gain: float | None
) -> int:
    """Train the models, `jobs` at once, compare them in a table and a figure, and return the exit code."""
    from mhcdiag.plots.toy_comparison import comparison_figure
    from mhcdiag.reports.toy_console import TopologyRow, comparison_table
    from mhcdiag.toy.together import PlannedRun, jobs_for, train_together
    from mhcdiag.toy.topologies import topology_for

    names = [each.topology for each in settings]
    if not names or len(set(names)) < len(names):
        raise SettingError(f"--topologies {','.join(names) or '(empty)'}: expected different names")
    for each in settings:
        topology_for(each)  # a wrong name is refused before the first model is trained
    if not (force or resume) and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SettingError(f"{out}: exists already; --force replaces the runs in it, --resume continues them")
    planned = [PlannedRun(settings=each, folder=out / each.topology, force=force, resume=resume) for each in settings]
    with _progress(settings) as on_step:
        runs = train_together(planned, jobs=jobs_for(settings, jobs), on_step=on_step)
    gains = {run.topology: found for run in runs if (found := captured_gain(run)) is not None}
    save_figure(comparison_figure(runs, gains), out / FIGURE)
    rows = [TopologyRow(run=run, events=spikes_of(run)) for run in runs]
    return _finish(runs, comparison_table(rows, figure=str(out / FIGURE)), max_gain=max_gain)


def captured_gain(run: "ToyRun") -> "GainResult | None":
    """Gains of the newest captured mappings; None where nothing is mixed or no checkpoint was reached."""
    from mhcdiag.toy.runfolder import CAPTURED, checkpoint_name
    from mhcdiag.usecases import gain as api

    found = sorted((Path(run.path) / CAPTURED).glob(checkpoint_name(0).replace("000000", "*")))
    return api.gain(found[-1]) if found else None


def spikes_of(run: "ToyRun") -> tuple[str, ...]:
    """Events of the loss that `mhcdiag spikes` finds in the run's log, blips left out: kind and step."""
    from mhcdiag.toy.runfolder import LOG
    from mhcdiag.usecases.spikes import spikes

    try:
        found = spikes(str(Path(run.path) / LOG))
    except MhcdiagError:
        return ()
    events = found.series["loss"].events if "loss" in found.series else ()
    return tuple(f"{event.kind} at {event.start:.0f}" for event in events if event.kind != "blip")


def _finish(runs: "Sequence[ToyRun]", report: object, *, max_gain: float | None) -> int:
    from mhcdiag.policies.verdicts import judge_toys
    from mhcdiag.reports.toy_console import toy_verdict
    from mhcdiag.results.verdict import EXIT_CODES

    out = console()
    out.print(report)
    judged = judge_toys(runs, max_gain=max_gain)
    out.print(toy_verdict(judged), soft_wrap=True)
    return EXIT_CODES[judged.verdict]


@contextmanager
def _progress(settings: Sequence[ToySettings]) -> "Iterator[OnStepOf | None]":
    """One progress bar a run, with loss and gain, on stderr where that is a terminal."""
    screen = console(stderr=True)
    if not screen.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from mhcdiag.results.numbers import text

    columns = (
        TextColumn("{task.description:12}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[numbers]}"),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=screen, transient=True) as bar:
        tasks = [bar.add_task(each.topology, total=each.steps, numbers="") for each in settings]
        gains = [math.nan for _ in settings]

        def on_step(place: int, row: "StepRow") -> None:
            gains[place] = row.gain_forward if row.gain_forward is not None else gains[place]
            numbers = f"loss {row.loss:.3f}  gain {text(gains[place])}"
            bar.update(tasks[place], completed=row.step, numbers=numbers)

        yield on_step
