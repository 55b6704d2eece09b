"""`mhcdiag spikes`: from training logs to events and a verdict."""

from contextlib import nullcontext

import typer

from mhcdiag.cli import spikes_options as options
from mhcdiag.cli.configured import Config, Isolated


def spikes(
    ctx: typer.Context,
    logs: options.Logs,
    log_format: options.LogFormat = None,
    loss_key: options.LossKey = None,
    step_key: options.StepKey = None,
    regex: options.Regex = None,
    series: options.Series = None,
    steps: options.Steps = None,
    list_series: options.ListSeries = False,
    rule: options.RuleName = "mhcdiag",
    z: options.Z = None,
    min_rise: options.MinRise = None,
    window: options.Window = None,
    warmup: options.Warmup = None,
    fail_on: options.FailOn = "nan,divergence,loss_scale",
    max_spikes: options.MaxSpikes = None,
    max_spike_score: options.MaxSpikeScore = None,
    follow: options.Follow = False,
    on_fail: options.OnFail = None,
    idle_timeout: options.IdleTimeout = None,
    as_json: options.AsJson = False,
    as_csv: options.AsCsv = False,
    plot: options.Plot = None,
    log_scale: options.LogScale = False,
    context: options.ContextLines = 0,
    against: options.Against = None,
    advice: options.Advice = False,
    quiet: options.Quiet = False,
    _isolated: Isolated = False,
    _config: Config = None,
) -> None:
    """What went wrong in a training log: spikes, divergence, NaN, and whether the run came back.

    Exit codes: 0 nothing of --fail-on, 1 a gate failed, 2 could not judge.

    [bold]Examples[/bold]

      mhcdiag spikes run.log
      mhcdiag spikes runs/ --fail-on nan,divergence,spike --json
      mhcdiag spikes --follow train.log --on-fail 'scancel $SLURM_JOB_ID'
      mhcdiag spikes mhc.log --against baseline.log --plot gap.png
    """
    from mhcdiag.cli import spikes_choices as choices
    from mhcdiag.cli import spikes_output as output
    from mhcdiag.cli.output import check_figure_path

    check_figure_path(plot)
    gate = choices.parse_gate(fail_on, max_spikes, max_spike_score)
    from mhcdiag.cli.spikes_run import Request, exit_code, run_spikes
    from mhcdiag.cli.stages import log_options
    from mhcdiag.ranks import Alone, joined_ranks

    request = Request(
        logs=tuple(logs),
        options=log_options(ctx.params),
        gate=gate,
        against=against,
        advice=advice,
    )
    if list_series:
        raise typer.Exit(output.list_series(logs, request.options))
    with nullcontext(Alone()) if follow else joined_ranks() as ranks:
        if follow:
            from mhcdiag.cli.spikes_follow import follow_log

            report = follow_log(request, on_fail=on_fail, idle_timeout=idle_timeout, quiet=quiet or as_json or as_csv)
        else:
            report = run_spikes(request, ranks)
        if not ranks.rank:
            if plot is not None:
                output.draw(report, plot, log_scale=log_scale)
            output.print_report(report, as_json=as_json, as_csv=as_csv, quiet=quiet, context=context)
        ranks.wait()
    raise typer.Exit(exit_code(report, followed=follow))
