"""Factors with which branches are written, in plain models too: LayerScale, ReZero, residual lambdas."""

from collections.abc import Mapping
from math import log

from mhcdiag.health_checks.interface import (
    TINY,
    HealthCheck,
    Outcome,
    Subject,
    largest,
    model_finding,
    not_checkable,
    smallest,
)
from mhcdiag.results.health import Basis, Severity


def _run(subject: Subject, limits: Mapping[str, float]) -> Outcome:
    """From weights and the configuration; most models have no such factors."""
    stated = {} if subject.plain is None else subject.plain.config_scales
    if not subject.branch_scales and not subject.residual_scales and not stated:
        return not_checkable("no LayerScale, ReZero or residual factors among the weights or in the configuration")
    branch = {name: float(each.abs().mean()) for name, each in subject.branch_scales.items()} | stated
    findings = []
    silent = [name for name, value in branch.items() if value < limits["silent"]]
    if silent and len(silent) >= limits["share"] * len(branch):
        what = f"{len(silent)} of {len(branch)} branch factors are under {limits['silent']:g} (first: {silent[0]})"
        findings.append(
            model_finding(Severity.WARN, what, "these branches hardly write: fresh from the start, or never trained")
        )
    if large := [name for name, value in branch.items() if not value <= limits["large"]]:
        what = f"{len(large)} of {len(branch)} branch factors are above {limits['large']:g} (first: {large[0]})"
        findings.append(model_finding(Severity.WARN, what, "these branches drown the stream that they are added to"))
    # Signs aside: a negative factor turns the stream around and does not change its size.
    total = 0.0
    for each in subject.residual_scales.values():
        total += float(each.double().abs().clamp(min=TINY).log().sum())
    if not abs(total) <= limits["log_product"]:
        what = f"the factors on the residual stream multiply to e^{total:.2f}"
        findings.append(
            model_finding(Severity.WARN, what, "early layers drown or vanish; compare with the norms that follow")
        )
    overall = {"branch_scales": float(len(branch)), "log_residual_product": total}
    if branch:
        overall |= {
            "smallest_branch_scale": smallest(branch.values()),
            "largest_branch_scale": largest(branch.values()),
        }
    return Outcome(overall=overall, per_site={}, findings=tuple(findings))


CHECK = HealthCheck(
    name="scales",
    formula=(
        "mean |s| of every branch factor s, of the weights in depth order and of the configuration; product of the "
        "factors on the residual stream itself"
    ),
    source=(
        "ReZero 2003.04887 (start 0), LayerScale 2103.17239 (start 0.1 to 1e-6), residual lambdas of nanochat, "
        "residual_multiplier of Granite, scale_depth of MiniCPM"
    ),
    basis=Basis.HEURISTIC,
    thresholds={
        # ReZero starts at 0 and LayerScale at 0.1 to 1e-6, by depth: one factor that is still there is usual, half of
        # them are branches that never wrote.
        "silent": 1e-3,
        "share": 0.5,
        # A branch of ten times the size of its stream; a stream rescaled by more than ten over all layers.
        "large": 10.0,
        "log_product": log(10.0),
    },
    run=_run,
)
