"""A check planned and run without a command line."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from checkrecords import CHECKPOINT, LOG, checkpoint, event, health, with_events
from trainlogs import healthy

from mhcdiag.errors import InputError, OutputError, SettingError
from mhcdiag.metrics import Record
from mhcdiag.policies.baseline import Baseline
from mhcdiag.policies.inputs import Input
from mhcdiag.policies.policy import BUILT_IN, BUILT_IN_NAME, Allow, Inputs, Policy, PolicyGate
from mhcdiag.results.check import CheckReport, Family, GateSeverity
from mhcdiag.results.gain import GainResult
from mhcdiag.results.health import HealthResult
from mhcdiag.results.spikes import LogResult
from mhcdiag.results.verdict import Verdict
from mhcdiag.usecases.check import CheckpointReader, Plan, accept, find_inputs, make_plan, run_check
from mhcdiag.usecases.options import CheckOptions, LogOptions

NEW = PolicyGate(metric="spikes.new", name="new", max=0.0)
RATIO = PolicyGate(metric="gain.worst.forward.norm", name="ratio", max_ratio=1.0)


def never(path: str, **_: object) -> Any:
    raise AssertionError(f"{path} was looked at")


def planned(
    *gates: PolicyGate,
    log: LogResult | None = None,
    gain: GainResult | None = None,
    examine: Callable[..., HealthResult] = never,
    baseline: Record | None = None,
    allow: tuple[Allow, ...] = (),
) -> Plan:
    """A plan for one input, which is there already."""
    family, path = (Family.LOG, LOG) if log is not None else (Family.CHECKPOINT, CHECKPOINT)
    return Plan(
        policy=Policy(gates=gates, allow=allow),
        policy_name="p",
        inputs=[Input(family=family, path=path)],
        checkpoints=None if gain is None else CheckpointReader(measure=lambda _: gain, examine=examine),
        read=never if log is None else lambda _: log,
        baseline=None if baseline is None else Baseline(path="b.json", records={(family, path): baseline}),
        strict=False,
        exit_zero=False,
        jobs=1,
    )


def value(report: CheckReport) -> float:
    (outcome,) = report.outcomes
    assert isinstance(outcome.value, float)
    return outcome.value


def test_allowed_events_count_neither_now_nor_in_the_baseline() -> None:
    """The event of the baseline is near to the one of now, but is allowed: it makes nothing known."""
    before, now = with_events(event(start=350)), with_events(event(start=371))
    known = Allow(steps=(340.0, 360.0), reason="corrupt shard")
    assert value(run_check(planned(NEW, log=now, baseline=before))) == 0
    report = run_check(planned(NEW, log=now, baseline=before, allow=(known,)))
    assert (value(report), report.allowed) == (1, ())
    report = run_check(planned(NEW, log=before, baseline=now, allow=(known,)))
    assert (value(report), [one.step for one in report.allowed]) == (0, [350])
    (checked,) = report.inputs
    assert checked.result == before, "reports show the log as it is"


def test_health_is_examined_where_a_gate_asks_for_it() -> None:
    gain, sick = checkpoint().gain, PolicyGate(metric="health.failed", name="sick", max=0.0)
    report = run_check(planned(RATIO, gain=gain, baseline=checkpoint()))
    assert (report.verdict, report.inputs[0].health) == (Verdict.PASS, None)
    report = run_check(planned(sick, gain=gain, examine=lambda *_, **__: health()))
    assert (report.verdict, report.inputs[0].health) == (Verdict.PASS, health())


def test_what_is_accepted_is_compared_with_itself() -> None:
    report = accept(planned(RATIO, gain=checkpoint().gain), Path("new.json"))
    outcome, evidence = report.outcomes
    assert (evidence.gate, evidence.severity) == ("evidence", GateSeverity.WARNING)
    assert (report.verdict, report.baseline) == (Verdict.PASS, "new.json")
    assert (outcome.value, outcome.baseline, outcome.limit) == (1.0, 1.0, 1.0)


def test_nothing_is_accepted_where_an_input_could_not_be_read() -> None:
    plan = replace(planned(NEW), inputs=[Input(family=Family.LOG, path="a", error="a: torn")])
    with pytest.raises(OutputError, match=r"new\.json is left as it was: a: torn"):
        accept(plan, Path("new.json"))


def test_a_baseline_of_another_model_stops_the_check() -> None:
    other = replace(checkpoint(), gain=replace(checkpoint().gain, streams=4))
    with pytest.raises(InputError, match="another model: streams 4, here 2"):
        run_check(planned(RATIO, gain=checkpoint().gain, baseline=other))


def test_a_log_is_asked_for_the_series_that_its_gates_name(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    rows = [
        f'{{"step": {i}, "loss": {loss}, "eval_loss": {loss}, "z_loss": {loss}}}' for i, loss in enumerate(healthy())
    ]
    path.write_text("\n".join(rows), encoding="utf-8")
    gates = (
        PolicyGate(metric="spikes.count.nan", name="a", max=0.0, series="eval_loss"),
        PolicyGate(metric="spikes.count.nan", name="b", max=0.0, series="z_loss", paths="other.jsonl"),
    )
    options = CheckOptions(paths=(str(path),), policy=Policy(gates=gates))
    plan = make_plan(options, find_inputs(options), logs=LogOptions(), checkpoints=None)
    assert {"loss", "eval_loss"} <= set(plan.read(str(path)).series)
    assert "z_loss" not in plan.read(str(path)).series, "its gate is for another log"


def test_a_policy_without_gates_has_the_built_in_ones() -> None:
    assert CheckOptions().rules == BUILT_IN
    assert CheckOptions().policy_name == BUILT_IN_NAME
    own = Policy(inputs=Inputs(logs=("a",)))
    options = CheckOptions(policy=own, policy_path=Path("p.toml"))
    assert options.rules == replace(own, gates=BUILT_IN.gates)
    assert options.policy_name == f"p.toml ({BUILT_IN_NAME} for gates)"
    assert CheckOptions(policy=replace(own, gates=(NEW,)), policy_path=Path("p.toml")).policy_name == "p.toml"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (CheckOptions(), "there is no policy file here or above"),
        (CheckOptions(policy=Policy(), policy_path=Path("p.toml")), r"p\.toml names no \[inputs\]"),
    ],
)
def test_nothing_to_check_is_an_error(options: CheckOptions, why: str) -> None:
    with pytest.raises(SettingError, match=f"nothing to check: no PATH was given and {why}"):
        find_inputs(options)
