"""The table of evidence, limit, strict and require: what each gives in `gain` and in `check`, and on which line."""

import math
from dataclasses import replace

import pytest
import torch
from checkrecords import checkpoint
from stacks import CONFIG, deepseek_v4_tensors, hyper_connections_tensors, write

import mhcdiag
from mhcdiag.metrics import METRICS, Examined
from mhcdiag.policies.gates import judge_evidence, judge_gate, overall
from mhcdiag.policies.policy import BUILT_IN, PolicyGate
from mhcdiag.policies.policy_files import read_policy
from mhcdiag.policies.verdicts import GateOn, judge_gain
from mhcdiag.reports.gain_console import verdict_line
from mhcdiag.results.check import GateSeverity
from mhcdiag.results.gain import Direction, GainResult
from mhcdiag.results.verdict import EXIT_CODES, GainEvidence, Verdict
from mhcdiag.usecases.options import CheckOptions

CERTIFIED, MEASURED, SAMPLED = GainEvidence.CERTIFIED, GainEvidence.MEASURED, GainEvidence.SAMPLED
REAL = {"inputs": "captured", "tokens": 4096, "span_tokens": 1024, "tied_to": "step 160"}
KINDS = {
    "sinkhorn": {"bound": 4.0, "by_layout": True},
    "unconstrained": {"bound": 8.0e6, "inputs": "random"},
    "captured": {"bound": None} | REAL,
    "few tokens": {"bound": None} | REAL | {"tokens": 32},
    "no tie": {"bound": None} | REAL | {"tied_to": ""},
    "orthostochastic": {"bound": None},
    "assumed": {"bound": 4.0, "by_layout": True, "assumed": ("orientation: transposed",)},
    "unread": {"bound": 4.0, "by_layout": True, "bound_doubt": "the projection was not read"},
}


def record(kind: str) -> GainResult:
    """Of three sites, whose gains are 1 in both directions."""
    facts = {"bound_doubt": "", "assumed": (), "sites_total": 3} | KINDS[kind]
    bound, by_layout = facts.pop("bound"), facts.pop("by_layout", False)
    curve = None if bound is None else (bound,) * 3
    result = checkpoint().gain
    bounds = {
        way: replace(one, single=curve, prefix=curve, suffix=curve, worst=bound, by_layout=by_layout)
        for way, one in result.bound.items()
    }
    return replace(result, bound=bounds, **facts)


EVIDENCE = {
    ("sinkhorn", 3.0): SAMPLED,
    ("sinkhorn", 30.0): CERTIFIED,
    ("sinkhorn", 1000.0): CERTIFIED,
    ("unconstrained", 1000.0): SAMPLED,
    ("unconstrained", 1e7): CERTIFIED,
    ("captured", 1000.0): MEASURED,
    ("few tokens", 1000.0): SAMPLED,
    ("no tie", 1000.0): SAMPLED,
    ("orthostochastic", 1e300): SAMPLED,
    ("assumed", 1000.0): SAMPLED,
    ("unread", 1000.0): SAMPLED,
}
STARTS = {
    ("sinkhorn", 3.0): "PASS on sampled inputs; the layout guarantees only 4; measure real tokens with `mhcdiag gain ",
    (
        "unconstrained",
        1000.0,
    ): "PASS on random inputs only: bound 8.0e6 > 1000; measure real tokens with `mhcdiag gain ",
    ("few tokens", 1000.0): "PASS on 32 real tokens (fewer than 128) only: no bound (stochastic); capture ",
    ("no tie", 1000.0): "PASS on mappings that name no checkpoint only: no bound (stochastic); capture ",
    ("orthostochastic", 1e300): "PASS on static inputs only: no bound (stochastic); measure ",
    ("assumed", 1000.0): "PASS on static inputs only: bound 4 <= 1000 is no proof (assumed: orientation: transposed); ",
    ("unread", 1000.0): "PASS on static inputs only: bound 4 <= 1000 is no proof (the projection was not read); ",
}
RANK = {SAMPLED: 0, MEASURED: 1, CERTIFIED: 2}


@pytest.mark.parametrize("require", [None, *GainEvidence])
@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(("kind", "limit"), EVIDENCE)
def test_gain(kind: str, limit: float, strict: bool, require: GainEvidence | None):
    judged = judge_gain(record(kind), max_gain=limit, strict=strict, require=require)
    evidence = EVIDENCE[kind, limit]
    assert judged.evidence is evidence
    assert {one.evidence for one in judged.limits} == {evidence}
    assert {one.bound for one in judged.limits} == {KINDS[kind]["bound"]}
    wanted = max(0 if require is None else RANK[require], 1 if strict else 0)
    doubt = strict and kind == "assumed"
    assert judged.verdict is (Verdict.PASS if RANK[evidence] >= wanted and not doubt else Verdict.UNJUDGED)
    line = verdict_line(judged).plain
    if judged.verdict is Verdict.UNJUDGED:
        assert line.startswith("UNJUDGED  checkpoints/step_100  worst.forward.norm 1.000 <= ")
        assert "--strict" in line or f"--require {require}, and this is {evidence}" in line
    elif evidence is SAMPLED:
        assert line.startswith(STARTS[kind, limit])
        assert line.endswith("  checkpoints/step_100" + line.partition("  checkpoints/step_100")[2])
    else:
        assert line.startswith("PASS  checkpoints/step_100  worst.forward.norm 1.000 <= ")
        assert line.endswith(
            f"(certified: bound {KINDS[kind]['bound']:.0f} <= {limit:.0f})" if kind == "sinkhorn" else line[-1]
        )


@pytest.mark.parametrize("require", [None, *GainEvidence])
@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("severity", list(GateSeverity))
@pytest.mark.parametrize(("kind", "limit"), EVIDENCE)
def test_check(kind: str, limit: float, severity: GateSeverity, strict: bool, require: GainEvidence | None):
    gates = [PolicyGate(metric=f"gain.worst.{way}.norm", max=limit, severity=severity) for way in Direction]
    result = record(kind)
    outcomes = [judge_gate(gate, Examined(gain=result), None) for gate in gates]
    evidence = EVIDENCE[kind, limit]
    assert {(one.verdict, one.evidence, one.bound) for one in outcomes} == {
        (Verdict.PASS, evidence, KINDS[kind]["bound"])
    }
    found = judge_evidence(result, outcomes, require=require, strict=strict)
    wanted = max(RANK[require or MEASURED], 1 if strict else 0)
    assert (found is None) is (RANK[evidence] >= wanted)
    if found is not None:
        assert (found.gate, found.verdict, found.evidence) == ("evidence", Verdict.UNJUDGED, evidence)
        decides = require is not None and RANK[evidence] < RANK[require] and severity is GateSeverity.ERROR
        assert found.severity is (GateSeverity.ERROR if decides else GateSeverity.WARNING)
        assert overall([*outcomes, found], strict=strict) is (Verdict.UNJUDGED if strict or decides else Verdict.PASS)
        if require is None:
            assert f"PASS {found.finding}".startswith(STARTS[kind, limit])


def test_a_failure_wins_over_any_requirement():
    judged = judge_gain(record("sinkhorn"), max_gain=0.5, strict=True, require=CERTIFIED)
    assert (judged.verdict, judged.evidence) == (Verdict.FAIL, SAMPLED)
    gate = PolicyGate(metric="gain.worst.forward.norm", max=0.5)
    outcome = judge_gate(gate, Examined(gain=record("sinkhorn")), None)
    assert judge_evidence(record("sinkhorn"), [outcome], require=CERTIFIED, strict=True) is None
    assert EXIT_CODES[overall([outcome], strict=True)] == 1


def test_the_bound_of_the_direction_that_is_judged_decides():
    result = record("sinkhorn")
    result = replace(
        result, bound={**result.bound, Direction.FORWARD: replace(result.bound[Direction.FORWARD], worst=1.0)}
    )
    found = {one.metric: (one.evidence, one.bound) for one in judge_gain(result, max_gain=3.0).limits}
    assert found == {"worst.forward.norm": (CERTIFIED, 1.0), "worst.backward.norm": (SAMPLED, 4.0)}
    assert judge_gain(result, max_gain=3.0).evidence is SAMPLED


def test_a_bound_that_was_asked_for_is_certified_where_it_holds():
    assert judge_gain(record("sinkhorn"), max_gain=4.0, gate_on=GateOn.BOUND).evidence is CERTIFIED
    assert judge_gain(record("unread"), max_gain=4.0, gate_on=GateOn.BOUND).evidence is SAMPLED
    assert judge_gain(record("unread"), max_gain=4.0, gate_on=GateOn.BOUND, strict=True).verdict is Verdict.UNJUDGED


@pytest.mark.parametrize(
    ("limit", "why"),
    [
        ({"min": 0.5}, "no bound (a lower limit has none)"),
        ({"max_ratio": 5.0}, "no bound (a ratio to a baseline has none)"),
    ],
)
def test_lower_limits_and_ratios_are_never_certified(limit: dict, why: str):
    gate = PolicyGate(metric="gain.worst.forward.norm", name="a", **limit)
    now = Examined(gain=record("sinkhorn"))
    outcome = judge_gate(gate, now, now)
    assert (outcome.verdict, outcome.evidence, outcome.bound) == (Verdict.PASS, SAMPLED, None)
    evidence = judge_evidence(now.gain, [outcome], require=None, strict=False)
    assert evidence is not None
    assert why in evidence.finding
    assert judge_gate(gate, Examined(gain=record("captured")), now).evidence in (MEASURED, None)


def test_a_ratio_compares_like_inputs_with_like():
    gate = PolicyGate(metric="gain.worst.forward.norm", name="a", max_ratio=5.0)
    sampled, captured = Examined(gain=record("unconstrained")), Examined(gain=record("captured"))
    static = Examined(gain=record("sinkhorn"))
    outcome = judge_gate(gate, sampled, static)
    assert outcome.verdict is Verdict.UNJUDGED
    assert outcome.finding == "no limit: the baseline was measured on static inputs, and this on random ones"
    assert judge_gate(gate, captured, sampled).verdict is Verdict.UNJUDGED
    text = Examined(gain=replace(captured.gain, inputs="text"))
    assert judge_gate(gate, text, captured).verdict is Verdict.PASS  # both are real tokens
    counted = PolicyGate(metric="gain.skipped", name="b", max_ratio=5.0)
    assert judge_gate(counted, sampled, static).verdict is Verdict.PASS  # a count, whatever the inputs


def test_what_is_no_number_of_mappings_has_no_evidence():
    examined = Examined(gain=record("unconstrained"))
    for metric in ("gain.skipped", "gain.assumed"):
        outcome = judge_gate(PolicyGate(metric=metric, max=1.0), examined, None)
        assert (outcome.verdict, outcome.evidence) == (Verdict.PASS, None)
        assert judge_evidence(examined.gain, [outcome], require=CERTIFIED, strict=True) is None
    bounded = [name for name, metric in METRICS.items() if metric.bound is not None]
    assert all(name.startswith(("gain.", "health.gain.")) for name in bounded)


def test_that_all_is_finite_is_certified_only_where_nothing_can_overflow():
    gate = PolicyGate(metric="gain.nonfinite", max=0.0)
    found = {kind: judge_gate(gate, Examined(gain=record(kind)), None).evidence for kind in KINDS}
    assert found["sinkhorn"] is found["unconstrained"] is CERTIFIED
    assert found["unread"] is found["assumed"] is SAMPLED


BOUNDED = [metric for metric in METRICS.values() if metric.bound is not None and metric.name.startswith("gain.")]


def test_gates_on_health_rest_on_what_its_gain_rests_on(tmp_path, monkeypatch, capsys):
    """That nothing failed, or that the gain inside `health` is small, is no plain pass on sampled inputs."""
    from mhcdiag.cli.main import run

    monkeypatch.chdir(tmp_path)
    write(tmp_path / "model", hyper_connections_tensors(sites=12, spread=0.5))
    for metric, limit, warned in (
        ("health.failed", 0, True),
        ("health.gain.forward", 1000, True),
        ("health.collapse.half_depth", 10, False),
    ):
        (tmp_path / "mhcdiag.toml").write_text(f'[[gates]]\nmetric = "{metric}"\nmax = {limit}\n')
        assert run(["check", "model", "--no-scan"]) == 0
        said = capsys.readouterr().out
        assert ("PASS on sampled inputs only" in said) is warned, metric
        assert not warned or "on aligned inputs only: bound " in said
        assert run(["check", "model", "--no-scan", "--require", "measured"]) == (2 if warned else 0)
        capsys.readouterr()


@pytest.mark.parametrize("layout", ["deepseek-v4", "hyper-connections"])
def test_no_metric_exceeds_the_bound_that_belongs_to_it(tmp_path, layout: str):
    """All of them, on random inputs: a bound of another direction or kind would be exceeded by some."""
    if layout == "deepseek-v4":
        tensors = {name: 6 * value for name, value in deepseek_v4_tensors(streams=3).items()}
        result = mhcdiag.gain(
            write(tmp_path, tensors, config=CONFIG | {"hc_mult": 3, "hc_sinkhorn_iters": 2}), tokens=256
        )
    else:
        result = mhcdiag.gain(write(tmp_path, hyper_connections_tensors()), tokens=256, tanh=True)
    compared = 0
    for metric in BOUNDED:
        gate = PolicyGate(metric=metric.name, name="a", max=1e30)
        outcome = judge_gate(gate, Examined(gain=result), None)
        if outcome.bound is not None and outcome.value is not None:
            assert isinstance(outcome.value, float)
            assert isinstance(outcome.bound, float)
            assert outcome.value <= outcome.bound * (1 + 1e-5) + 1e-12, metric.name
            assert outcome.evidence is CERTIFIED
            compared += 1
            below = replace(gate, max=math.nextafter(outcome.bound, 0) if outcome.bound else 0.0)
            if outcome.bound:
                assert judge_gate(below, Examined(gain=result), None).evidence is SAMPLED
    assert compared == 73


def test_policies_say_what_they_require(tmp_path):
    (tmp_path / "mhcdiag.toml").write_text('[gain]\nrequire = "measured"\n')
    policy = read_policy(tmp_path / "mhcdiag.toml")
    assert CheckOptions(policy=policy).required() is MEASURED
    assert CheckOptions(policy=policy, require="certified").required() is CERTIFIED
    assert CheckOptions(policy=BUILT_IN).required() is None


@pytest.mark.parametrize("command", ["gain", "check"])
def test_an_evidence_that_does_not_exist_is_one_line(tmp_path, command: str, capsys, monkeypatch):
    from mhcdiag.cli.main import run

    monkeypatch.chdir(tmp_path)
    write(tmp_path / "model", hyper_connections_tensors())
    (tmp_path / "mhcdiag.toml").write_text('[gain]\nrequire = "sure"\n')
    assert run([command, "model"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "sure" in error


def test_captured_mappings_bound_nothing_were_they_all_the_identity(tmp_path):
    result = mhcdiag.gain(write(tmp_path, {f"layers.{i}.h_res": torch.eye(3) for i in range(4)}))
    assert judge_gain(result).evidence is SAMPLED
