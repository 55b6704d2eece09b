"""From the command line, the environment and the policy file to the plan of a check."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import typer

from mhcdiag.cli.configured import effective
from mhcdiag.cli.options import examination, log_options, measurement
from mhcdiag.cli.output import check_writable, write_text
from mhcdiag.errors import OutputError, SettingError
from mhcdiag.metrics import METRICS
from mhcdiag.policies.baseline import baseline_of, read_baseline
from mhcdiag.policies.gates import applies, gates_for
from mhcdiag.policies.inputs import Input, from_paths, from_patterns
from mhcdiag.policies.policy import ANY, BUILT_IN, BUILT_IN_NAME, Policy, PolicyGate
from mhcdiag.policies.policy_files import STARTER, gate_series
from mhcdiag.reports.check_formats.json_document import check_json
from mhcdiag.results.check import CheckReport, Family
from mhcdiag.results.spikes import LogResult
from mhcdiag.usecases.check import Plan, judge_all, look_at_all
from mhcdiag.usecases.log_judging import judge_log

_JOBS = 2


def make_plan(
    ctx: typer.Context,
    *,
    paths: Sequence[str],
    policy: Policy | None,
    policy_path: Path | None,
    baseline: Path | None,
    strict: bool,
    exit_zero: bool,
    jobs: int | None,
) -> Plan:
    """Return what to check, how, and against what.

    Raises: SettingError where there is nothing to check, InputError for a baseline that is none.
    """
    rules = policy or BUILT_IN
    if not rules.gates:
        rules = replace(rules, gates=BUILT_IN.gates)
    if paths:
        inputs = from_paths(paths)
    elif policy_path is not None:
        inputs = from_patterns(rules.inputs, policy_path.resolve().parent)
        inputs += _without_inputs(rules.gates, inputs)
    else:
        inputs = []
    if not inputs:
        where = f"{policy_path} names no [inputs]" if policy_path else "there is no policy file here or above"
        raise SettingError(f"nothing to check: no PATH was given and {where}; see `mhcdiag check --init`")
    # Options are looked at even where no input needs them: a policy that is wrong is wrong.
    of_gain, _ = effective(ctx, "gain")
    of_spikes, _ = effective(ctx, "spikes")
    options = log_options(of_spikes)
    options.published_rule()

    def read(path: str) -> LogResult:
        named = gate_series(list(gates_for(rules.gates, Family.LOG, path)))
        return judge_log(path, replace(options, series=tuple(dict.fromkeys([*options.series, *named]))))

    with_checkpoints = any(one.family is Family.CHECKPOINT and not one.error for one in inputs)
    return Plan(
        policy=rules,
        policy_name=_name(policy, policy_path),
        inputs=inputs,
        measure=measurement(of_gain) if with_checkpoints else _no_checkpoints,
        examine=examination(of_gain) if with_checkpoints else _no_checkpoints,
        read=read,
        baseline=None if baseline is None else read_baseline(baseline),
        strict=strict,
        exit_zero=exit_zero,
        jobs=jobs or _JOBS,
    )


def _without_inputs(gates: Sequence[PolicyGate], inputs: Sequence[Input]) -> list[Input]:
    """Return an entry for each gate whose own pattern covers no input: what is never judged is no pass."""
    idle = []
    for gate in gates:
        family = METRICS[gate.metric].family
        if gate.paths != ANY and not any(one.family is family and applies(gate.paths, one.path) for one in inputs):
            error = f"gate '{gate.name}' is for {family}s that match '{gate.paths}', and no input does; mend its paths"
            idle.append(Input(family=family, path=gate.paths, error=error))
    return idle


def accept(plan: Plan, path: Path | None) -> CheckReport:
    """Make what is found now the baseline, and judge by it: nothing is new, every ratio is 1.

    Arguments: plan: without a baseline; path: file to write. Returns: the report.
    Raises: SettingError without a path, OutputError where an input could not be read: it would be missing for ever.
    """
    if path is None:
        raise SettingError("--update-baseline: which file? give --baseline FILE, or baseline in [check]")
    check_writable(path, option="--baseline")
    results = look_at_all(plan)
    found = judge_all(plan, results)
    unread = [one for one in found.inputs if one.error]
    if unread:
        raise OutputError(f"--update-baseline: {path} is left as it was: {unread[0].error}")
    report = judge_all(replace(plan, baseline=baseline_of(found, str(path))), results)
    write_text(path, check_json(report), option="--baseline")
    return report


def write_starter() -> None:
    """Write a policy to start from. Raises: OutputError where there is one already."""
    path = Path("mhcdiag.toml")
    if path.exists():
        raise OutputError(f"{path} exists already; nothing was written")
    write_text(path, STARTER, option="--init")
    typer.echo(f"wrote {path}: name your checkpoints and logs in it, then run `mhcdiag check`")


def _no_checkpoints(path: str) -> NoReturn:
    raise AssertionError(f"{path} was planned as a log")


def _name(policy: Policy | None, path: Path | None) -> str:
    if policy is None or path is None:
        return BUILT_IN_NAME
    shown = os.path.relpath(path)
    return shown if policy.gates else f"{shown} ({BUILT_IN_NAME} for gates)"
