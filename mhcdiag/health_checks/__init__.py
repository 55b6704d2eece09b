"""What may be wrong with the mixers of a model, and with models that have none: one check a file."""

from collections.abc import Mapping, Sequence
from math import isnan

from mhcdiag.errors import SettingError
from mhcdiag.health_checks.families import (
    activations,
    attention,
    collapse,
    conformance,
    deepnorm,
    frozen,
    gain,
    gauge,
    norms,
    precision,
    scales,
    sinkhorn,
    site_gates,
    streams,
    writers,
)
from mhcdiag.health_checks.interface import HealthCheck, Outcome, Subject
from mhcdiag.results.health import CheckResult, Finding, Severity

CHECKS: tuple[HealthCheck, ...] = (
    gain.CHECK,
    conformance.CHECK,
    sinkhorn.CHECK,
    frozen.CHECK,
    collapse.CHECK,
    streams.CHECK,
    site_gates.CHECK,
    precision.CHECK,
    gauge.CHECK,
    activations.CHECK,
    scales.CHECK,
    deepnorm.CHECK,
    attention.CHECK,
    norms.CHECK,
    writers.CHECK,
)
"""All checks, in the order in which they are reported."""


def examine(
    subject: Subject, *, only: Sequence[str] = (), thresholds: Mapping[str, float] | None = None
) -> tuple[CheckResult, ...]:
    """Make all checks, or some.

    Parameters
    ----------
    subject
        The checkpoint.
    only
        Names of the checks to make; none makes all.
    thresholds
        "check.threshold" to value, over the defaults.

    Returns
    -------
    tuple
        One result a check, in the order of `CHECKS` whatever that of `only`.

    Raises
    ------
    SettingError
        There is no check or threshold of that name.
    """
    known = [check.name for check in CHECKS]
    if unknown := [name for name in only if name not in known]:
        raise SettingError(f"there is no check {unknown[0]!r}; known: {', '.join(known)}")
    changed = dict(thresholds or {})
    names = {f"{check.name}.{name}" for check in CHECKS for name in check.thresholds}
    if wrong := [name for name in changed if name not in names]:
        raise SettingError(f"there is no threshold {wrong[0]!r}; known: {', '.join(sorted(names))}")
    return tuple(_result(check, subject, changed) for check in CHECKS if not only or check.name in only)


def _result(check: HealthCheck, subject: Subject, changed: Mapping[str, float]) -> CheckResult:
    limits = {name: changed.get(f"{check.name}.{name}", value) for name, value in check.thresholds.items()}
    found = _outcome(check, subject, limits)
    return CheckResult(
        name=check.name,
        formula=check.formula,
        source=check.source,
        basis=check.basis,
        thresholds=limits,
        overall=found.overall,
        per_site=found.per_site,
        findings=found.findings if _has_failed(found) else (*_not_a_number(found, subject), *found.findings),
        not_checkable=found.not_checkable,
        skipped=found.skipped,
        evidence=found.evidence,
        qualification=found.qualification,
    )


def _has_failed(found: Outcome) -> bool:
    return any(finding.severity is Severity.FAIL for finding in found.findings)


def _not_a_number(found: Outcome, subject: Subject) -> tuple[Finding, ...]:
    """A failure where a number of a check is NaN and the check itself has not failed: NaN is above no limit."""
    whole = [name for name, value in found.overall.items() if isnan(value)]
    at = {name: [i for i, value in enumerate(values) if isnan(value)] for name, values in found.per_site.items()}
    sites = sorted({i for places in at.values() for i in places})
    names = [*whole, *(name for name, places in at.items() if places and name not in whole)]
    if not names:
        return ()
    return (
        Finding(
            severity=Severity.FAIL,
            what=f"{', '.join(names).replace('_', ' ')}: NaN, since what was read holds NaN or infinity",
            site=subject.sites[sites[0]] if sites else "",
            sites=len(sites),
            advice="go back to a sound checkpoint",
        ),
    )


def _outcome(check: HealthCheck, subject: Subject, limits: Mapping[str, float]) -> Outcome:
    try:
        return check.run(subject, limits)
    except RuntimeError:
        # LAPACK's factorisations refuse NaN and infinity. Anything else is a bug.
        broken = [i for i, of_site in enumerate(subject.maps) if not of_site.isfinite().all()]
        if not broken:
            raise
        what, advice = "a mapping holds NaN or infinity", "go back to a sound checkpoint"
        site = subject.sites[broken[0]]
        finding = Finding(severity=Severity.FAIL, what=what, site=site, sites=len(broken), advice=advice)
        return Outcome(overall={}, per_site={}, findings=(finding,))
