"""`mhcdiag check`: a policy over checkpoints and logs."""

import typer

from mhcdiag.cli import check_options as options
from mhcdiag.cli.configured import POLICY, Config, Isolated


def check(
    ctx: typer.Context,
    paths: options.Paths = None,
    init: options.Init = False,
    baseline: options.BaselineFile = None,
    update_baseline: options.UpdateBaseline = False,
    strict: options.Strict = False,
    exit_zero: options.ExitZero = False,
    form: options.Format = "text",
    as_json: options.AsJson = False,
    outputs: options.Output = None,
    jobs: options.Jobs = None,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
    _isolated: Isolated = False,
    _config: Config = None,
) -> None:
    """Hold checkpoints and logs against a policy: the gates that CI, schedulers and people act on.

    Without a policy file, the default gates of gain and spikes apply.
    Exit codes: 0 every gate passed, 1 one failed, 2 something could not be judged.

    [bold]Examples[/bold]

      mhcdiag check --init
      mhcdiag check
      mhcdiag check checkpoints/ logs/ -o report.html -o junit.xml
      mhcdiag check --baseline good.json --format github
    """
    from mhcdiag.cli.check_outputs import parse_format, parse_targets, print_report, refuse_overwriting, write_reports
    from mhcdiag.cli.check_plan import accept, make_plan, write_starter
    from mhcdiag.usecases.check import run_check

    if init:
        write_starter()
        return
    name = parse_format("json" if as_json else form)
    targets = parse_targets(outputs or ())
    path, policy = ctx.meta.get(POLICY, (None, None))
    plan = make_plan(
        ctx,
        paths=paths or (),
        policy=policy,
        policy_path=path,
        baseline=None if update_baseline else baseline,
        strict=strict,
        exit_zero=exit_zero,
        jobs=jobs,
    )
    kept = [*(one.path for one in plan.inputs), *([path] if path else []), *([baseline] if baseline else [])]
    refuse_overwriting(targets, kept)
    report = accept(plan, baseline) if update_baseline else run_check(plan)
    write_reports(report, targets)
    print_report(report, name=name, quiet=quiet, verbose=verbose)
    raise typer.Exit(report.exit_code)
