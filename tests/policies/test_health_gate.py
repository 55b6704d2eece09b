"""The gate of a checkpoint's health: which severity fails, and what --strict adds."""

import pytest

from mhcdiag.policies.verdicts import judge_health
from mhcdiag.results.health import Basis, CheckResult, Finding, HealthResult, Severity
from mhcdiag.results.verdict import Verdict

PASS, FAIL, UNJUDGED = Verdict.PASS, Verdict.FAIL, Verdict.UNJUDGED
NOTE, WARN, FAILED = Severity.NOTE, Severity.WARN, Severity.FAIL


def a_check(
    *severities: Severity, name: str = "frozen", not_checkable: str = "", skipped: tuple[str, ...] = ()
) -> CheckResult:
    findings = tuple(
        Finding(severity=each, what=f"{name} {each} {at}", site="", sites=0, advice="")
        for at, each in enumerate(severities)
    )
    return CheckResult(
        name=name, formula="", source="", basis=next(iter(Basis)), thresholds={}, overall={}, per_site={},
        findings=findings, not_checkable=not_checkable, skipped=skipped,
    )  # fmt: skip


def test_what_a_check_skipped_is_doubt_under_strict():
    result = examined(a_check(skipped=("one tensor: why",)), a_check(name="sound"))
    assert judge_health(result).verdict is PASS
    judged = judge_health(result, strict=True)
    assert (judged.verdict, judged.reason) == (UNJUDGED, "--strict, and not checked: frozen")


def examined(*checks: CheckResult, assumed: tuple[str, ...] = ()) -> HealthResult:
    return HealthResult(
        path="a", layout="toy", model="", streams=2, sites=(), inputs="", tokens=1, against="", checks=checks,
        assumed=assumed, notes=(),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("found", "fail_on", "expected"),
    [
        ([], NOTE, PASS),
        ([NOTE], NOTE, FAIL),
        ([NOTE], WARN, PASS),
        ([NOTE], FAILED, PASS),
        ([WARN], NOTE, FAIL),
        ([WARN], WARN, FAIL),
        ([WARN], FAILED, PASS),
        ([FAILED], NOTE, FAIL),
        ([FAILED], WARN, FAIL),
        ([FAILED], FAILED, FAIL),
        ([NOTE, FAILED, WARN], FAILED, FAIL),
    ],
)
def test_a_severity_or_a_worse_one_fails(found: list[Severity], fail_on: Severity, expected: Verdict) -> None:
    assert judge_health(examined(a_check(), a_check(*found)), fail_on=fail_on).verdict is expected


def test_only_failures_fail_where_nothing_is_asked_for() -> None:
    assert judge_health(examined(a_check(WARN))).verdict is PASS
    assert judge_health(examined(a_check(FAILED))).verdict is FAIL
    assert judge_health(examined(a_check(not_checkable="why"), assumed=("a",))).verdict is PASS


def test_the_reason_is_the_first_of_the_worst_findings() -> None:
    result = examined(a_check(WARN), a_check(NOTE, FAILED, FAILED, name="second"), a_check(FAILED, name="third"))
    assert judge_health(result, fail_on=NOTE).reason == "second fail 1"


@pytest.mark.parametrize(
    ("strict", "assumed", "not_checkable", "found", "expected", "reason"),
    [
        (True, (), "", [], PASS, ""),
        (True, ("a",), "", [], UNJUDGED, "--strict, and not checked: assumptions"),
        (True, (), "nothing was captured", [], UNJUDGED, "--strict, and not checked: frozen"),
        (True, ("a", "b"), "why", [], UNJUDGED, "--strict, and not checked: assumptions, frozen"),
        (False, ("a",), "why", [], PASS, ""),
        (True, ("a",), "why", [FAILED], FAIL, "frozen fail 0"),
        (True, ("a",), "", [WARN], UNJUDGED, "--strict, and not checked: assumptions"),
    ],
)
def test_strict_leaves_doubt_unjudged_but_never_hides_a_failure(
    strict: bool, assumed: tuple[str, ...], not_checkable: str, found: list[Severity], expected: Verdict, reason: str
) -> None:
    result = examined(a_check(*found, not_checkable=not_checkable), a_check(name="sound"), assumed=assumed)
    judged = judge_health(result, strict=strict)
    assert (judged.verdict, judged.reason, judged.result) == (expected, reason, result)
