"""`mhcdiag health`: what is wrong with the mixers of a checkpoint."""

import sys
from functools import partial
from typing import Annotated

import typer

from mhcdiag.cli import options
from mhcdiag.results.health import Severity

Against = Annotated[
    str | None,
    typer.Option(metavar="EARLIER", help="An earlier checkpoint, to see what moved.", rich_help_panel=options.INPUT),
]
CapturedFile = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Captured x_in, x_out, ... of a running model.", rich_help_panel=options.INPUT),
]
Only = Annotated[str | None, typer.Option(metavar="CHECKS", help="Make these checks only, by comma.")]
Threshold = Annotated[
    list[str] | None,
    typer.Option(metavar="CHECK.NAME=VALUE", help="Change a threshold (repeatable).", rich_help_panel=options.GATE),
]
FailOn = Annotated[Severity, typer.Option(help="Fail on findings this bad or worse.", rich_help_panel=options.GATE)]


def health(
    ctx: typer.Context,
    checkpoints: options.Checkpoints,
    against: Against = None,
    captured: CapturedFile = None,
    only: Only = None,
    inputs: options.Inputs = None,
    tokens: options.Tokens = 64,
    seed: options.Seed = 0,
    key: options.Key = None,
    scan: options.Scan = None,
    layout: options.LayoutName = None,
    assume: options.Assume = None,
    orientation: options.Orientation = None,
    sinkhorn_iters: options.SinkhornIters = None,
    threshold: Threshold = None,
    fail_on: FailOn = Severity.FAIL,
    strict: options.Strict = False,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """What is wrong with the mixers of a checkpoint, check by check, with evidence and advice.

    Exit codes: 0 nothing of --fail-on, 1 something, 2 could not judge.

    [bold]Examples[/bold]

      mhcdiag health model.safetensors
      mhcdiag health step_2000 --against step_1000 --fail-on warn
      mhcdiag health model --captured maps.safetensors --only conformance
    """
    from mhcdiag.cli import output
    from mhcdiag.cli.weights import look_beside
    from mhcdiag.policies.verdicts import judge_health
    from mhcdiag.reports.health_text import health_json, health_text, verdict_line
    from mhcdiag.reports.weights_text import weights_lines
    from mhcdiag.results.judged import JudgedHealth
    from mhcdiag.results.verdict import EXIT_CODES, combine
    from mhcdiag.usecases.health import health as examine

    measure = partial(
        examine, against=against, captured=captured, inputs=inputs, tokens=tokens, seed=seed, key=key, layout=layout,
        assume=assume, orientation=orientation, sinkhorn_iters=sinkhorn_iters, only=only.split(",") if only else (),
        thresholds=options.parse_thresholds(threshold or []),
    )  # fmt: skip
    look = look_beside(ctx, wanted=scan, key=key)
    judge = partial(judge_health, fail_on=fail_on, strict=strict)
    judged = [
        output.or_unreadable(path, lambda path: judge(measure(path), weights=look(path)))
        for path in output.with_progress(checkpoints, doing="examining")
    ]
    if as_json:
        sys.stdout.write(health_json(judged))
    else:
        for each in judged:
            if isinstance(each, JudgedHealth) and not quiet:
                width = output.console().width
                sys.stdout.write(health_text(each.result, width=width, details=verbose))
                sys.stdout.write(weights_lines(each.weights, width=width, details=verbose) + "\n")
        sys.stdout.writelines(f"{verdict_line(each)}\n" for each in judged if isinstance(each, JudgedHealth))
    raise typer.Exit(EXIT_CODES[combine(each.verdict for each in judged)])
