"""`mhcdiag config`: what applies here, and where each value comes from."""

import typer

from mhcdiag.cli.configured import POLICY, Config, Isolated


def config(ctx: typer.Context, _isolated: Isolated = False, _config: Config = None) -> None:
    """Show the effective configuration: the policy's gates, and every option with where its value comes from.

    What is printed is a policy file itself; values that are not set anywhere stand in comments.
    """
    from mhcdiag.cli.configured import effective
    from mhcdiag.policies.policy import BUILT_IN, BUILT_IN_NAME
    from mhcdiag.policies.policy_files import policy_tables, setting_lines

    path, policy = ctx.meta.get(POLICY, (None, None))
    if policy is None or not policy.gates:
        typer.echo(f"# policy: {path or BUILT_IN_NAME}" + (f", gates of the {BUILT_IN_NAME}" if path else ""))
        typer.echo(policy_tables(policy, gates=BUILT_IN.gates))
    else:
        typer.echo(f"# policy: {path}")
        typer.echo(policy_tables(policy, gates=policy.gates))
    for command in ("gain", "spikes", "check"):
        _, settings = effective(ctx, command)
        typer.echo(f"[{command}]")
        typer.echo("\n".join(setting_lines([(one.name, one.value, one.source) for one in settings])))
        typer.echo()
