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
    gates,
    gauge,
    norms,
    scales,
    sinkhorn,
    streams,
    writers,
)
from mhcdiag.health_checks.interface import Check, Subject, not_checkable
from mhcdiag.results.health import CheckResult

CHECKS: tuple[Check, ...] = (
    conformance, sinkhorn, frozen, collapse, streams, gates, gauge, activations, scales, deepnorm, attention, norms,
    writers,
)  # fmt: skip
"""All checks, in the order in which they are reported."""


def examine(
    subject: Subject, *, only: Sequence[str] = (), thresholds: Mapping[str, float] | None = None
) -> tuple[CheckResult, ...]:
    """Make all checks, or some.

    Parameters
    ----------
    only
        Names of the checks to make; none makes all.
    thresholds
        "check.threshold" to value, over the defaults.

    Raises
    ------
    SettingError
        There is no check or threshold of that name.
    """
    known = {check.NAME: check for check in CHECKS}
    if unknown := [name for name in only if name not in known]:
        raise SettingError(f"there is no check {unknown[0]!r}; known: {', '.join(known)}")
    changed = dict(thresholds or {})
    names = {f"{check.NAME}.{name}" for check in CHECKS for name in check.THRESHOLDS}
    if wrong := [name for name in changed if name not in names]:
        raise SettingError(f"there is no threshold {wrong[0]!r}; known: {', '.join(sorted(names))}")
    results = []
    for check in CHECKS:
        if only and check.NAME not in only:
            continue
        limits = {name: changed.get(f"{check.NAME}.{name}", value) for name, value in check.THRESHOLDS.items()}
        try:
            found = check.run(subject, limits)
        except RuntimeError:  # factorisations refuse NaN and infinity; `collapse` names them
            if subject.maps.isfinite().all():
                raise
            found = not_checkable("a mapping holds NaN or infinity")
        results.append(
            CheckResult(
                name=check.NAME,
                formula=check.FORMULA,
                source=check.SOURCE,
                basis=check.BASIS,
                thresholds=limits,
                overall=found.overall,
                per_site=found.per_site,
                findings=found.findings,
                not_checkable=found.not_checkable,
            )
        )
    return tuple(results)
