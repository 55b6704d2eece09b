"""The gate of `mhcdiag health`: which findings fail."""

from mhcdiag.results.health import SEVERITIES, HealthResult, Severity
from mhcdiag.results.judged import JudgedHealth
from mhcdiag.results.verdict import Verdict


def judge_health(result: HealthResult, *, fail_on: Severity = Severity.FAIL, strict: bool = False) -> JudgedHealth:
    """Fail on any finding of this severity or a worse one.

    Under `strict`, anything assumed and any check that could not be made leaves an otherwise passing input unjudged.
    """
    worst = result.worst()
    skipped = [check.name for check in result.checks if check.not_checkable]
    if worst is not None and SEVERITIES.index(worst) >= SEVERITIES.index(fail_on):
        first = next(f for check in result.checks for f in check.findings if f.severity is worst)
        return JudgedHealth(result=result, verdict=Verdict.FAIL, reason=first.what)
    if strict and (result.assumed or skipped):
        what = ", ".join([*(["assumptions"] if result.assumed else []), *skipped])
        return JudgedHealth(result=result, verdict=Verdict.UNJUDGED, reason=f"--strict, and not checked: {what}")
    return JudgedHealth(result=result, verdict=Verdict.PASS, reason="")
