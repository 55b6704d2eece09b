"""`mhcdiag gain`: from checkpoints to gains and a verdict."""

from collections.abc import Sequence
from functools import partial

import typer

from mhcdiag.cli import options
from mhcdiag.cli.configured import Config, Isolated
from mhcdiag.cli.options import parse_sites
from mhcdiag.results.bands import DEFAULT_MAX_GAIN
from mhcdiag.results.verdict import GateOn
from mhcdiag.usecases.options import GainOptions


def gain(
    ctx: typer.Context,
    checkpoints: options.Checkpoints,
    inputs: options.Inputs = None,
    text: options.TextFile = None,
    tokens: options.Tokens = 1024,
    seed: options.Seed = 0,
    sites: options.Sites = None,
    key: options.Key = None,
    scan: options.Scan = None,
    layout: options.LayoutName = None,
    assume: options.Assume = None,
    orientation: options.Orientation = None,
    sinkhorn_iters: options.SinkhornIters = None,
    sinkhorn_eps: options.SinkhornEps = None,
    tanh: options.Tanh = None,
    device: options.Device = options.DeviceChoice.AUTO,
    dtype: options.Dtype = None,
    max_gain: options.MaxGain = DEFAULT_MAX_GAIN,
    gate_on: options.GateOnOption = GateOn.WORST,
    require: options.Require = None,
    strict: options.Strict = False,
    as_json: options.AsJson = False,
    plot: options.Plot = None,
    heatmap: options.Heatmap = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
    _isolated: Isolated = False,
    _config: Config = None,
) -> None:
    """How strongly signals and gradients grow through the residual streams of a checkpoint.

    Headers and mixing tensors are measured; all weights are looked at for NaN and infinity (--no-scan). With --inputs
    text the model runs on real tokens, block by block.
    Exit codes: 0 within --max-gain, 1 above it or NaN, 2 could not judge.

    [bold]Examples[/bold]

      mhcdiag gain model.safetensors
      mhcdiag gain checkpoints/step_12000 --inputs static --max-gain 30
      mhcdiag gain a.safetensors b.safetensors --plot gain.png --heatmap
      mhcdiag gain checkpoints/step_12000 --inputs text --tokens 4096
      mhcdiag gain maps.safetensors --sites 31:60 --json
    """
    from mhcdiag.cli import output

    output.check_figure_path(plot)
    from mhcdiag.cli.weights import look_beside
    from mhcdiag.policies.verdicts import judge_gain
    from mhcdiag.ranks import Alone, deal, joined_ranks
    from mhcdiag.results.judged import JudgedGain, Unreadable, overall
    from mhcdiag.results.verdict import EXIT_CODES
    from mhcdiag.usecases.gain import measurement

    chosen = GainOptions(
        inputs=inputs, text=text, tokens=tokens, seed=seed, sites=parse_sites(sites), key=key, layout=layout,
        assume=assume,
        orientation=orientation, sinkhorn_iters=sinkhorn_iters, sinkhorn_eps=sinkhorn_eps, tanh=tanh, device=device,
        dtype=dtype,
    )  # fmt: skip
    measure = measurement(chosen)
    look = look_beside(ctx, wanted=scan, key=key)
    judge = partial(judge_gain, max_gain=max_gain, gate_on=gate_on, strict=strict, require=require)
    with joined_ranks() as ranks:
        deals = len(checkpoints) >= ranks.count  # whole checkpoints to each rank; of fewer, the tokens are shared
        sharing = Alone() if deals else ranks

        speaks = deals or not ranks.rank  # one rank for all that share the tokens

        def judged_one(path: str) -> JudgedGain:
            return judge(measure(path, ranks=sharing), weights=look(path) if speaks else None)

        def judged_of(paths: Sequence[str]) -> list[JudgedGain | Unreadable]:
            doing = output.with_progress(paths, doing="measuring")
            return [output.or_unreadable(path, judged_one) for path in doing]

        judged = deal(checkpoints, judged_of, ranks) if deals else judged_of(checkpoints)
        if not ranks.rank:
            if plot is not None:
                output.draw_gain(judged, plot, heatmap=heatmap)
            output.print_gain(judged, as_json=as_json, quiet=quiet, details=verbose)
        ranks.wait()
    raise typer.Exit(EXIT_CODES[overall(judged)])
