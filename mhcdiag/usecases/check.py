"""One policy over all inputs: plan, measure, judge, and keep what could not be read beside what could."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from mhcdiag.errors import OutputError, SettingError
from mhcdiag.metrics import METRICS, Examined
from mhcdiag.policies.baseline import Baseline, read_baseline, record_of, records_of, refuse_other_model
from mhcdiag.policies.gates import applies, gates_for, judge_evidence, judge_gate, overall, unjudged, without_allowed
from mhcdiag.policies.inputs import Input, from_paths, from_patterns, sha256_of
from mhcdiag.policies.policy import ANY, Policy, PolicyGate
from mhcdiag.policies.policy_files import gate_series, read_policy
from mhcdiag.policies.verdicts import doubts
from mhcdiag.policies.weights_verdicts import weights_outcomes
from mhcdiag.results.check import AllowedEvent, CheckedInput, CheckReport, Family, GateOutcome, report_time
from mhcdiag.results.evidence import beside_weights
from mhcdiag.results.gain import GainResult
from mhcdiag.results.judged import Unreadable, readable
from mhcdiag.results.spikes import LogResult
from mhcdiag.results.verdict import EXIT_CODES, GainEvidence, combine
from mhcdiag.usecases.checkpoint_reading import CheckpointReader, Look
from mhcdiag.usecases.log_judging import judge_log
from mhcdiag.usecases.options import JOBS, CheckOptions, GainOptions, LogOptions, WeightsOptions
from mhcdiag.usecases.same_runs import LossCurve, loss_curve, once_among_inputs
from mhcdiag.version import __version__


def check(
    paths: Sequence[str | os.PathLike[str]] | str | os.PathLike[str] = (),
    *,
    policy: str | os.PathLike[str] | None = None,
    baseline: str | os.PathLike[str] | None = None,
    require: str | None = None,
    strict: bool = False,
    scan: bool | None = None,
    jobs: int | None = None,
) -> CheckReport:
    """Hold checkpoints and logs against a policy.

    Parameters
    ----------
    paths
        Checkpoints, logs and folders of them; none takes the policy's inputs.
    policy
        A policy file, whose [gain] and [spikes] tables say how inputs are read; None takes the built-in gates. Unlike
        the command, this looks for no file that was not named.
    baseline
        An earlier JSON report that `max_ratio` and `spikes.new` compare with.
    require
        What a pass on a checkpoint must rest on: `certified` (proved), `measured` (on real tokens) or `sampled`; less
        leaves it unjudged. None takes `require` of the policy's [gain] table; without that, what is merely sampled is
        a warning.
    strict
        Whether warnings count as failures, and what was assumed, skipped or sampled leaves an input unjudged.
    scan
        Whether to look at all weights of checkpoints, as `mhcdiag.weights` does; None: of local ones up to 4 GB.
    jobs
        Inputs worked on at the same time; None: 2.

    Raises
    ------
    mhcdiag.MhcdiagError
        There is nothing to check, or policy or baseline cannot be used. An input that cannot be read is an entry of
        the report.
    """
    named = [paths] if isinstance(paths, str | os.PathLike) else paths
    rules = None if policy is None else read_policy(Path(policy))
    options = CheckOptions(
        paths=tuple(os.fspath(path) for path in named),
        policy=rules,
        policy_path=None if policy is None else Path(policy),
        baseline=None if baseline is None else Path(baseline),
        strict=strict,
        require=require,
        scan=scan,
        jobs=jobs,
    )
    inputs = find_inputs(options)
    logs = LogOptions.from_params({} if rules is None else rules.spikes)
    logs.published_rule()
    checkpoints = None
    if has_checkpoints(inputs):
        checkpoints = checkpoint_reader(
            GainOptions.from_params({} if rules is None else rules.gain),
            WeightsOptions.from_params({} if rules is None else rules.weights),
            scan=scan,
        )
    return run_check(make_plan(options, inputs, logs=logs, checkpoints=checkpoints))


def checkpoint_reader(
    options: GainOptions, of_weights: WeightsOptions, *, scan: bool | None = None
) -> CheckpointReader:
    """Return what looks at checkpoints as `mhcdiag gain` does, and with the default thresholds of `mhcdiag health`.

    Parameters
    ----------
    scan
        Whether to look at all weights; None: of local checkpoints up to 4 GB.
    """
    from mhcdiag.usecases.gain import measurement
    from mhcdiag.usecases.health import HealthOptions, examined
    from mhcdiag.usecases.weights import weights_beside

    how = HealthOptions(
        # The other inputs of a gain are those of one site only, or come with the file.
        inputs=options.inputs if options.inputs in ("static", "aligned", "random") else None,
        seed=options.seed,
        key=options.key,
        layout=options.layout,
        assume=options.assume,
        orientation=options.orientation,
        sinkhorn_iters=options.sinkhorn_iters,
    )
    look = partial(weights_beside, options=of_weights, wanted=scan, key=options.key)
    return CheckpointReader(measure=measurement(options), examine=partial(examined, options=how), scan=look)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a check is to do."""

    policy: Policy
    """Gates and known events."""
    policy_name: str
    """What reports call it."""
    inputs: Sequence[Input]
    """What to look at."""
    checkpoints: CheckpointReader | None
    """How checkpoints are looked at; None where there is none."""
    read: Callable[[str], LogResult]
    """Find the events of a log."""
    baseline: Baseline | None
    """Earlier report."""
    strict: bool
    """Whether warnings, assumptions and skipped parts count."""
    exit_zero: bool
    """Whether to end with 0 whatever is found."""
    jobs: int
    """Inputs worked on at the same time."""
    require: GainEvidence | None = None
    """What a pass on mappings must rest on; None: what is merely sampled is a warning."""
    curve: Callable[[str], LossCurve] | None = None
    """Read the losses of a log, to find out which logs of a folder are the same run; None where nobody asks."""


def find_inputs(options: CheckOptions) -> list[Input]:
    """Return what to look at: the paths that were named, else what the policy's patterns match.

    Raises
    ------
    SettingError
        There is nothing to check.
    """
    inputs: list[Input] = []
    if options.paths:
        inputs = from_paths(options.paths)
    elif options.policy_path is not None:
        inputs = from_patterns(options.rules.inputs, options.policy_path.resolve().parent)
        inputs += _without_inputs(options.rules.gates, inputs)
    if not inputs:
        named = options.policy_path
        where = f"{named} names no [inputs]" if named else "there is no policy file here or above"
        raise SettingError(f"nothing to check: no PATH was given and {where}; see `mhcdiag check --init`")
    return inputs


def _without_inputs(gates: Sequence[PolicyGate], inputs: Sequence[Input]) -> list[Input]:
    """Return an entry for each gate whose own pattern covers no input: what is never judged is no pass."""
    idle = []
    for gate in gates:
        family = METRICS[gate.metric].family
        if gate.paths != ANY and not any(one.family is family and applies(gate.paths, one.path) for one in inputs):
            error = f"gate '{gate.name}' is for {family}s that match '{gate.paths}', and no input does; mend its paths"
            idle.append(Input(family=family, path=gate.paths, error=error))
    return idle


def has_checkpoints(inputs: Sequence[Input]) -> bool:
    """Whether a checkpoint must be read."""
    return any(one.family is Family.CHECKPOINT and not one.error for one in inputs)


def make_plan(
    options: CheckOptions, inputs: Sequence[Input], *, logs: LogOptions, checkpoints: CheckpointReader | None
) -> Plan:
    """Return what to check, how, and against what.

    Parameters
    ----------
    inputs
        Of `find_inputs`.
    logs
        How logs are read; the series that gates name are added.
    checkpoints
        How checkpoints are read; None where there is none.

    Raises
    ------
    InputError
        The baseline is none.
    """
    rules = options.rules

    def read(path: str) -> LogResult:
        named = gate_series(list(gates_for(rules.gates, Family.LOG, path)))
        return judge_log(path, replace(logs, series=tuple(dict.fromkeys([*logs.series, *named]))))

    return Plan(
        policy=rules,
        policy_name=options.policy_name,
        inputs=inputs,
        checkpoints=checkpoints,
        read=read,
        baseline=None if options.baseline is None else read_baseline(options.baseline),
        strict=options.strict,
        require=options.required(),
        exit_zero=options.exit_zero,
        jobs=options.jobs or JOBS,
        curve=lambda path: loss_curve(path, logs),
    )


def run_check(plan: Plan) -> CheckReport:
    """Measure and judge every input; one that cannot be read is an entry of the report.

    Raises
    ------
    InputError
        The baseline is of another model.
    """
    return _judge_all(plan, _look_at_all(plan))


def accept(plan: Plan, path: Path) -> CheckReport:
    """Take what is found now for the baseline, and judge by it: nothing is new, every ratio is 1.

    Parameters
    ----------
    plan
        Without a baseline.
    path
        The file that the report will be written to.

    Raises
    ------
    OutputError
        An input could not be read: it would be missing from the baseline for ever.
    """
    looks = _look_at_all(plan)
    found = _judge_all(plan, looks)
    unread = [one for one in found.inputs if one.error]
    if unread:
        raise OutputError(f"--update-baseline: {path} is left as it was: {unread[0].error}")
    return _judge_all(replace(plan, baseline=Baseline(path=str(path), records=records_of(found.inputs))), looks)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Judged:
    checked: CheckedInput
    outcomes: tuple[GateOutcome, ...] = ()
    allowed: tuple[AllowedEvent, ...] = ()


def _look_at_all(plan: Plan) -> list[Look]:
    """Measure every checkpoint and read every log, in the order of the plan."""

    def look(one: Input) -> Look:
        if one.error:
            return Look(result=Unreadable(path=one.path, reason=one.error))
        if one.family is Family.LOG:
            return Look(result=readable(one.path, plan.read))
        assert plan.checkpoints is not None, f"{one.path} was planned as a log"
        return plan.checkpoints.look(one.path, with_health=_asks_for_health(plan, one))

    if plan.jobs == 1 or len(plan.inputs) == 1:
        return [look(one) for one in plan.inputs]
    with ThreadPoolExecutor(max_workers=plan.jobs) as pool:
        return list(pool.map(look, plan.inputs))


def _asks_for_health(plan: Plan, one: Input) -> bool:
    return any(gate.metric.startswith("health.") for gate in gates_for(plan.policy.gates, one.family, one.path))


def _judge_all(plan: Plan, looks: Sequence[Look]) -> CheckReport:
    judged = once_among_inputs(
        [_judge(plan, one, look) for one, look in zip(plan.inputs, looks, strict=True)],
        checked=lambda one: one.checked,
        told=lambda one, checked: replace(one, checked=checked),
        found={one.path for one in plan.inputs if one.found},
        gates=plan.policy.gates,
        curve=plan.curve,
    )
    outcomes = tuple(outcome for one in judged for outcome in one.outcomes)
    # An input on which only warnings failed has passed; one that could not be read has not.
    verdict = combine([one.checked.verdict for one in judged])
    return CheckReport(
        verdict=verdict,
        exit_code=0 if plan.exit_zero else EXIT_CODES[verdict],
        outcomes=outcomes,
        inputs=tuple(one.checked for one in judged),
        allowed=tuple(event for one in judged for event in one.allowed),
        policy=plan.policy_name,
        baseline=None if plan.baseline is None else plan.baseline.path,
        strict=plan.strict,
        version=__version__,
        created=report_time(),
    )


def _judge(plan: Plan, one: Input, look: Look) -> _Judged:
    result = look.result
    if isinstance(result, Unreadable):
        return _Judged(checked=CheckedInput.unread(one.path, one.family, result.reason))
    record = record_of(result, look.health, look.weights)
    allowed: tuple[AllowedEvent, ...] = ()
    baseline = None if plan.baseline is None else plan.baseline.find(one.family, one.path)
    if isinstance(record, LogResult):
        screened = without_allowed(record, plan.policy.allow)
        record, allowed = screened.log, screened.allowed
    if isinstance(baseline, LogResult):
        baseline = without_allowed(baseline, plan.policy.allow).log
    if plan.baseline is not None and isinstance(baseline, Examined) and isinstance(record, Examined):
        refuse_other_model(plan.baseline, baseline.gain, record.gain)
    gates = list(gates_for(plan.policy.gates, one.family, one.path))
    outcomes = [judge_gate(gate, record, baseline) for gate in gates]
    outcomes += weights_outcomes(look.weights, gates)
    outcomes += [unjudged(one.path, one.family, why) for why in doubts(result, judged=bool(gates), strict=plan.strict)]
    if isinstance(result, GainResult):
        found = beside_weights(result, look.weights)
        evidence = judge_evidence(found, outcomes, require=plan.require, strict=plan.strict)
        outcomes += [] if evidence is None else [evidence]
    checked = CheckedInput(
        path=one.path,
        family=one.family,
        verdict=overall(outcomes, strict=plan.strict),
        result=result,
        error="",
        sha256=sha256_of(one.path),
        health=look.health,
        weights=look.weights,
    )
    return _Judged(checked=checked, outcomes=tuple(outcomes), allowed=allowed)
