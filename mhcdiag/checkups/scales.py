"""Factors with which branches are written, in plain models too: LayerScale, ReZero, residual lambdas."""

from collections.abc import Mapping
from math import log

from mhcdiag.checkups.interface import Outcome, Subject, not_checkable
from mhcdiag.results.health import Basis, Finding, Severity

NAME = "scales"
FORMULA = "mean |s| of every branch factor s, in depth order; product of the factors on the residual stream itself"
SOURCE = "ReZero 2003.04887 (start 0), LayerScale 2103.17239 (start 0.1 to 1e-6), residual lambdas of nanochat"
BASIS = Basis.HEURISTIC
THRESHOLDS = {"silent": 1e-3, "share": 0.5, "log_product": log(10.0)}


def run(subject: Subject, limits: Mapping[str, float]) -> Outcome:
    """See `Check`; from weights alone, and silent on models without such factors."""
    if not subject.branch_scales and not subject.residual_scales:
        return not_checkable("no LayerScale, ReZero or residual factors among the weights")
    branch = [float(each.abs().mean()) for each in subject.branch_scales.values()]
    findings = []
    silent = [name for name, value in zip(subject.branch_scales, branch, strict=True) if value < limits["silent"]]
    if silent and len(silent) >= limits["share"] * len(branch):
        what = f"{len(silent)} of {len(branch)} branch factors are under {limits['silent']:g} (first: {silent[0]})"
        findings.append(_finding(what, "these branches hardly write: fresh from the start, or never trained"))
    total = 0.0
    for each in subject.residual_scales.values():
        total += float(each.double().abs().clamp(min=1e-300).log().sum())
    if abs(total) > limits["log_product"]:
        what = f"the factors on the residual stream multiply to e^{total:.2f}"
        findings.append(_finding(what, "early layers drown or vanish; compare with the norms that follow"))
    overall = {"branch_scales": float(len(branch)), "log_residual_product": total}
    return Outcome(overall=overall, per_site={}, findings=tuple(findings))


def _finding(what: str, advice: str) -> Finding:
    return Finding(severity=Severity.WARN, what=what, site="", sites=0, advice=advice)
