"""What a scan of all weights means for the verdict of a check, and what takes the place of it."""

import pytest
from checkrecords import weights, weights_finding

from mhcdiag.policies.policy import PolicyGate
from mhcdiag.policies.verdicts import judge_health
from mhcdiag.policies.weights_verdicts import FINITE, LIKE_OTHERS, SCANNED, judge_weights, weights_outcomes
from mhcdiag.results.check import GateSeverity
from mhcdiag.results.health import Severity
from mhcdiag.results.verdict import Skipped, Verdict
from mhcdiag.results.weights import WeightsKind

NAN = weights_finding()
ZERO = weights_finding(kind=WeightsKind.ZERO, severity=Severity.WARN, position=None, what="b: all zero")
TIE = weights_finding(kind=WeightsKind.DUPLICATE, severity=Severity.NOTE, what="c: equals b")
UNREAD = (Skipped(what="d", reason="its type is not known"),)


def test_nothing_is_added_where_all_is_well() -> None:
    assert weights_outcomes(None, []) == []
    assert weights_outcomes(weights(), []) == []
    assert weights_outcomes(weights(findings=(TIE,)), []) == []


def test_what_is_not_finite_fails_and_the_rest_warns() -> None:
    failed, warned = weights_outcomes(weights(findings=(NAN, NAN, ZERO, TIE)), [])
    assert (failed.gate, failed.metric, failed.verdict, failed.severity, failed.value, failed.limit) == (
        FINITE, "weights.nonfinite", Verdict.FAIL, GateSeverity.ERROR, 2.0, 0.0
    )  # fmt: skip
    assert failed.finding == "1 of 100 values is NaN, at [3, 5] (limit 0) (and 1 finding more)"
    assert failed.place.text == "layers.0.mlp.weight"
    assert (warned.gate, warned.severity, warned.value) == (LIKE_OTHERS, GateSeverity.WARNING, 1.0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"unscanned": "--no-scan was given", "expected_seconds": 130.0, "elements_scanned": 0},
            "(--scan, about 2 min)",
        ),
        ({"unscanned": "a remote checkpoint", "expected_seconds": 1.0}, "(--scan, about 1 min): a remote checkpoint"),
        ({"skipped": UNREAD}, "1 tensor could not be read: d: its type is not known"),
    ],
)
def test_what_was_not_looked_at_is_a_warning_that_cannot_be_judged(changes, said: str) -> None:
    (outcome,) = weights_outcomes(weights(**changes), [])
    assert (outcome.gate, outcome.verdict, outcome.severity) == (SCANNED, Verdict.UNJUDGED, GateSeverity.WARNING)
    assert said in outcome.finding


def test_a_gate_of_the_policy_takes_the_place_of_ours() -> None:
    gates = [PolicyGate(metric="weights.nonfinite", name="mine", max=0.0)]
    assert [one.gate for one in weights_outcomes(weights(findings=(NAN, ZERO)), gates)] == [LIKE_OTHERS]


@pytest.mark.parametrize(
    ("changes", "fail_on", "strict", "verdict"),
    [
        ({}, "fail", False, "pass"),
        ({"findings": (ZERO,)}, "fail", False, "pass"),
        ({"findings": (ZERO,)}, "warn", False, "fail"),
        ({"findings": (TIE,)}, "warn", False, "pass"),
        ({"findings": (TIE,)}, "note", False, "fail"),
        ({"findings": (NAN,)}, "fail", False, "fail"),
        ({"findings": (NAN,), "skipped": UNREAD}, "fail", False, "fail"),
        ({"skipped": UNREAD}, "fail", False, "unjudged"),
        ({"unscanned": "the checkpoint holds no tensors"}, "fail", False, "unjudged"),
        ({"elements_scanned": 0, "elements": 0}, "fail", False, "unjudged"),
        ({"elements_scanned": 99}, "fail", False, "pass"),
        ({"elements_scanned": 99}, "fail", True, "unjudged"),
        ({"allowed": (NAN,)}, "fail", False, "pass"),
        ({"allowed": (NAN,)}, "fail", True, "unjudged"),
        ({"unread": ("1 file",)}, "fail", False, "pass"),
        ({"unread": ("1 file",)}, "fail", True, "unjudged"),
    ],
)
def test_the_command_s_own_gate(changes, fail_on: str, strict: bool, verdict: str) -> None:
    judged = judge_weights(weights(**changes), fail_on=Severity(fail_on), strict=strict)
    assert judged.verdict == verdict
    assert bool(judged.reason) is (verdict != "pass")


def test_finite_and_complete_are_said_of_whole_scans_only() -> None:
    assert weights().is_finite
    assert not weights(findings=(NAN,)).is_finite
    assert not weights(allowed=(NAN,)).is_finite
    assert not weights(elements_scanned=99).is_finite
    assert not weights(skipped=UNREAD).is_finite
    assert not weights(unscanned="--no-scan was given").is_finite
    assert weights(findings=(ZERO, TIE)).is_finite
    assert weights(findings=(TIE, ZERO)).worst() == "warn"
    assert weights().worst() is None


def test_health_fails_on_weights_like_on_its_own_findings() -> None:
    from checkrecords import health

    assert judge_health(health(), weights=weights(findings=(ZERO,))).verdict == "pass"
    judged = judge_health(health(), weights=weights(findings=(ZERO, NAN)))
    assert (judged.verdict, judged.reason) == ("fail", NAN.what)
    assert judge_health(health(), weights=weights(findings=(ZERO,)), fail_on=Severity.WARN).reason == "b: all zero"
