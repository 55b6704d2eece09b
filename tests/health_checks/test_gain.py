"""The gain inside `health`: the same number, bands and evidence as `mhcdiag gain`, so that neither contradicts."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from checkrecords import checkpoint
from health_checks.subjects import run, said, subject, whats
from stacks import hyper_connections_tensors, write

import mhcdiag
from mhcdiag.cli.main import run as command
from mhcdiag.health_checks.families.gain import CHECK as gain
from mhcdiag.policies.verdicts import judge_gain, judge_health
from mhcdiag.results.bands import reading
from mhcdiag.results.gain import GainResult, NonFinite
from mhcdiag.results.health import Severity
from mhcdiag.results.verdict import GainEvidence, Verdict
from mhcdiag.usecases.health import HealthOptions, examined

SAMPLES = Path(__file__).parents[2] / "sample_checkpoints"
NAMES = ["hc.safetensors", "mhc.safetensors", "identity-hc.safetensors", "residual.safetensors", "deepseek_v4"]
PROVED = {"bound_doubt": "", "assumed": (), "sites_total": 3}
REAL = {"inputs": "text", "tokens": 4096, "span_tokens": 1024, "tied_to": "step 5", "sites_total": 3}
COMMAND = "measure real tokens with `mhcdiag gain checkpoints/step_100 --inputs text`"


def measured(worst: float, bound: float | None, **facts: object) -> GainResult:
    """A record of three sites whose worst gain and bound are these, forward and backward."""
    result = checkpoint().gain
    spans = {key: replace(span, value=worst) for key, span in result.worst.items()}
    bounds = {way: replace(one, worst=bound) for way, one in result.bound.items()}
    return replace(result, worst=spans, bound=bounds, **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("worst", "severity"),
    [(1.0, None), (3.0, None), (3.01, "note"), (30.0, "note"), (30.1, "warn"), (1000.0, "warn"), (1000.1, "fail"),
     (math.nan, "fail"), (math.inf, "fail")],
)  # fmt: skip
def test_real_tokens_are_judged_by_the_bands_of_gain(worst: float, severity: str | None):
    outcome = run(gain, subject(gain=lambda: measured(worst, None, **REAL)))
    assert said(outcome) == ([] if severity is None else [(severity, "", 0)] * 2)
    assert (outcome.evidence, outcome.qualification) == (GainEvidence.MEASURED, "")
    assert outcome.overall == pytest.approx({"forward": worst, "backward": worst}, nan_ok=True)


def test_a_finding_names_the_number_the_limit_the_stretch_and_the_band():
    outcome = run(gain, subject(gain=lambda: measured(31.0, None, **REAL)))
    assert whats(outcome)[0] == "worst forward gain 31.00 (> 30), 0.attn to 1.attn: warn"
    assert whats(run(gain, subject(gain=lambda: measured(31.0, None, **REAL)), warn=40.0))[0].endswith(
        "(> 3), 0.attn to 1.attn: warn"
    )


def test_what_is_merely_sampled_is_a_warning_with_the_command_to_type():
    outcome = run(gain, subject(gain=lambda: measured(1.0, 8.0e6, **PROVED)))
    assert said(outcome) == [("warn", "", 0)]
    (finding,) = outcome.findings
    assert (finding.what, finding.advice) == ("on static inputs only: bound 8.0e6 > 1000", COMMAND)
    assert outcome.evidence is GainEvidence.SAMPLED
    assert outcome.qualification == f"{finding.what}; {COMMAND}"


def test_a_bound_within_the_limit_is_no_warning():
    outcome = run(gain, subject(gain=lambda: measured(1.0, 4.0, **PROVED)))
    assert (outcome.findings, outcome.evidence) == ((), GainEvidence.CERTIFIED)


def test_a_failed_gain_says_nothing_of_samples():
    outcome = run(gain, subject(gain=lambda: measured(8240.0, 1e9, **PROVED)))
    assert said(outcome) == [("fail", "", 0)] * 2
    assert outcome.qualification == ""


def test_sites_that_are_broken_fail():
    broken = (NonFinite(site="0.ffn", tensors=("t",), found="1 value is NaN"),) * 2
    outcome = run(gain, subject(gain=lambda: measured(1.0, 4.0, nonfinite=broken, **PROVED)))
    assert said(outcome)[0] == ("fail", "0.ffn", 2)


def test_without_a_composite_there_is_nothing_to_check():
    assert run(gain, subject()).not_checkable == "no gain was measured"
    outcome = run(gain, subject(gain=lambda: measured(1.0, 4.0, composes=False, **PROVED)))
    assert "no composite" in outcome.not_checkable


@pytest.mark.parametrize("name", NAMES)
def test_no_two_commands_contradict_each_other_on_the_samples(name: str, capsys):
    """Verdict, exit code, evidence and severity of `gain`, of `health`, and of `check`."""
    path = str(SAMPLES / name)
    result = mhcdiag.gain(path)
    of_gain = reading(result).severity
    health = examined(path, HealthOptions(), measured=result)
    check = health.gain
    assert check is not None
    severities = [finding.severity for finding in check.findings]
    assert max(severities, key=list(Severity).index, default=None) is of_gain
    for strict in (False, True):
        judged = judge_gain(result, strict=strict)
        assert judge_health(replace(health, checks=(check,)), strict=strict).verdict is judged.verdict
        assert check.evidence is judged.evidence
    # FAIL where `gain` says that nothing is to do, or warnings on what is certified, were the contradictions.
    worst = health.worst()
    assert (worst is Severity.FAIL) is (of_gain is Severity.FAIL)
    assert of_gain is not None or worst in (None, Severity.NOTE)
    assert command(["check", path, "--isolated", "--json"]) == {"pass": 0, "fail": 1}[str(judged.verdict)]
    document = json.loads(capsys.readouterr().out)
    assert (document["verdict"], document["evidence"]) == (str(judged.verdict), str(judged.evidence))


def test_strict_leaves_a_sample_unjudged_and_the_line_says_what_it_rests_on(tmp_path, capsys):
    path = str(write(tmp_path, hyper_connections_tensors(sites=12, spread=0.5)))
    lines = {}
    for words in (["gain", path, "-q", "--tanh"], ["health", path, "-q"]):
        assert command(words) == 0
        lines[words[0]] = capsys.readouterr().out
    assert lines["gain"].startswith("PASS on aligned inputs only: bound ")
    assert lines["health"].startswith("PASS on aligned inputs only: bound ")
    assert command(["health", path, "-q", "--strict"]) == 2
    assert "the gain of real tokens" in capsys.readouterr().out
    health = mhcdiag.health(path)
    assert judge_health(health, strict=False).verdict is Verdict.PASS
    assert health.gain is not None
    assert health.gain.evidence is GainEvidence.SAMPLED


def test_a_record_that_was_measured_already_is_not_measured_again():
    path = SAMPLES / "mhc.safetensors"
    result = replace(mhcdiag.gain(path, tokens=3), inputs="captured", tokens=4096, span_tokens=1024, tied_to="step 3")
    (check,) = examined(path, HealthOptions(only=("gain",)), measured=result).checks
    assert check.overall["backward"] == result.worst["backward", "norm"].value
