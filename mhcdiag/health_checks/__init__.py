"""What may be wrong with the mixers of a model, and with models that have none: one check a file."""

from collections.abc import Mapping, Sequence

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
    scales,
    sinkhorn,
    site_gates,
    streams,
    writers,
)
from mhcdiag.health_checks.interface import HealthCheck, Outcome, Subject, not_checkable
from mhcdiag.results.health import CheckResult

CHECKS: tuple[HealthCheck, ...] = (
    gain.CHECK,
    conformance.CHECK,
    sinkhorn.CHECK,
    frozen.CHECK,
    collapse.CHECK,
    streams.CHECK,
    site_gates.CHECK,
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
        findings=found.findings,
        not_checkable=found.not_checkable,
        evidence=found.evidence,
        qualification=found.qualification,
    )


def _outcome(check: HealthCheck, subject: Subject, limits: Mapping[str, float]) -> Outcome:
    try:
        return check.run(subject, limits)
    except RuntimeError:
        # LAPACK's factorisations refuse NaN and infinity; `collapse` names the sites. Anything else is a bug.
        if subject.maps.isfinite().all():
            raise
        return not_checkable("a mapping holds NaN or infinity")
