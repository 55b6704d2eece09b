"""`mhcdiag toy`: small models to see the gain explode, and not to."""

import typer

from mhcdiag.cli import toy_options as options

toy = typer.Typer(name="toy", no_args_is_help=True, help="Train small models that differ in their residual streams.")


@toy.command()
def train(
    out: options.Out,
    topology: options.Topology = "hc",
    depth: options.Depth = 30,
    width: options.Width = 32,
    heads: options.Heads = 2,
    streams: options.Streams = 4,
    sinkhorn_iters: options.SinkhornIters = 20,
    stream_dtype: options.StoredAs = options.StreamDtype.FP32,
    qk_norm: options.QkNorm = False,
    steps: options.Steps = None,
    lr: options.LearningRate = None,
    warmup: options.Warmup = None,
    clip: options.Clip = 1.0,
    batch: options.Batch = 4,
    context: options.Context = 32,
    seed: options.Seed = 0,
    text: options.Text = None,
    device: options.Device = "auto",
    log_every: options.LogEvery = 10,
    checkpoints: options.Checkpoints = 5,
    max_gain: options.MaxGain = None,
    force: options.Force = False,
    resume: options.Resume = False,
) -> None:
    """Train one small character-level transformer on text that is on this machine.

    Writes checkpoints, captured mappings and train.jsonl into DIR. A loss that becomes NaN ends the run and is a
    result: exit code 0 without --max-gain.

    [bold]Examples[/bold]

      mhcdiag toy train --topology hc --out runs/hc
      mhcdiag gain runs/hc/step_000200.safetensors
      mhcdiag trend runs/hc --log runs/hc/train.jsonl
    """
    from mhcdiag.cli.toy_run import run_one
    from mhcdiag.toy.settings import ToySettings

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
        **options.preset_values(options.Preset.GAIN, steps=steps, learning_rate=lr, warmup=warmup),  # type: ignore[arg-type]
    )
    raise typer.Exit(run_one(settings, out, force=force, resume=resume, max_gain=max_gain))


@toy.command()
def compare(
    out: options.Out,
    topologies: options.Topologies = "residual,hc,mhc",
    preset: options.PresetChoice = options.Preset.GAIN,
    depth: options.Depth = 30,
    width: options.Width = 32,
    steps: options.Steps = None,
    lr: options.LearningRate = None,
    warmup: options.Warmup = None,
    seed: options.Seed = 0,
    text: options.Text = None,
    device: options.Device = "auto",
    jobs: options.Jobs = None,
    max_gain: options.MaxGain = None,
    force: options.Force = False,
    resume: options.Resume = False,
) -> None:
    """Train several topologies on the same data from the same seed, and set them side by side.

    Writes one folder per topology, and compare.png: loss, gradient norm, and gain over steps and sites.

    [bold]Examples[/bold]

      mhcdiag toy compare --out runs
      mhcdiag toy compare --preset spike --topologies residual,hc,mhc,identity-hc --out spike
    """
    from mhcdiag.cli.toy_run import run_several
    from mhcdiag.toy.settings import ToySettings

    names = [name.strip() for name in topologies.split(",") if name.strip()]
    values = options.preset_values(preset, steps=steps, learning_rate=lr, warmup=warmup)
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
