"""`mhcdiag explain`: a detection rule, a metric or a gate of the policy in words."""

from typing import Annotated

import typer

from mhcdiag.cli.configured import POLICY, Config, Isolated


def explain(
    ctx: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="A detection rule, a metric, a gate of the policy, or `formats`; they are listed without.",
            show_default=False,
        ),
    ] = None,
    _isolated: Isolated = False,
    _config: Config = None,
) -> None:
    """What a rule flags or a gate measures: formula, source, false alarms, what to do."""
    import difflib

    from mhcdiag.errors import SettingError
    from mhcdiag.metrics import METRICS
    from mhcdiag.policies.policy import BUILT_IN
    from mhcdiag.reports.explaining import (
        evidence_words,
        formats_text,
        gate_words,
        metric_words,
        overview,
        rule_words,
    )
    from mhcdiag.reports.explaining_formats import FORMATS_TOPIC

    _, policy = ctx.meta.get(POLICY, (None, None))
    gates = {gate.name: gate for gate in (policy.gates if policy and policy.gates else BUILT_IN.gates)}
    rules = rule_words()
    if name is None:
        typer.echo(overview(rules, gates.values()))
    elif name == FORMATS_TOPIC:
        typer.echo(formats_text())
    elif name in gates:
        typer.echo(gate_words(gates[name], METRICS[gates[name].metric]))
    elif name in METRICS:
        typer.echo(metric_words(METRICS[name]))
    elif name in ("evidence", "gain.evidence"):
        typer.echo(evidence_words())
    elif name in rules:
        title, explanation = rules[name]
        typer.echo(f"{name}: {title}\n\n{explanation}")
    else:
        near = difflib.get_close_matches(name, [*gates, *rules, *METRICS, FORMATS_TOPIC], n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else "`mhcdiag explain` lists what there is"
        raise SettingError(f"there is no rule, metric or gate '{name}'; {hint}")
