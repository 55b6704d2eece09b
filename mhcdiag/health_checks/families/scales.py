"""Factors with which branches are written, in plain models too: LayerScale, ReZero, residual lambdas."""

from collections.abc import Mapping
from math import log

from mhcdiag.health_checks.interface import Outcome, Subject, largest, not_checkable, smallest
from mhcdiag.results.health import Basis, Finding, Severity

NAME = "scales"
FORMULA = (
    "mean |s| of every branch factor s, of the weights in depth order and of the configuration; product of the factors "
    "on the residual stream itself"
)
SOURCE = (
    "ReZero 2003.04887 (start 0), LayerScale 2103.17239 (start 0.1 to 1e-6), residual lambdas of nanochat, "
    "residual_multiplier of Granite, scale_depth of MiniCPM"
)
BASIS = Basis.HEURISTIC
THRESHOLDS = {"silent": 1e-3, "share": 0.5, "large": 10.0, "log_product": log(10.0)}


def run(subject: Subject, limits: Mapping[str, float]) -> Outcome:
    """See `Check`; from weights alone, and silent on models without such factors."""
    stated = {} if subject.plain is None else subject.plain.config_scales
    if not subject.branch_scales and not subject.residual_scales and not stated:
        return not_checkable("no LayerScale, ReZero or residual factors among the weights or in the configuration")
    branch = {name: float(each.abs().mean()) for name, each in subject.branch_scales.items()} | stated
    findings = []
    silent = [name for name, value in branch.items() if value < limits["silent"]]
    if silent and len(silent) >= limits["share"] * len(branch):
        what = f"{len(silent)} of {len(branch)} branch factors are under {limits['silent']:g} (first: {silent[0]})"
        findings.append(_finding(what, "these branches hardly write: fresh from the start, or never trained"))
    if large := [name for name, value in branch.items() if not value <= limits["large"]]:
        what = f"{len(large)} of {len(branch)} branch factors are above {limits['large']:g} (first: {large[0]})"
        findings.append(_finding(what, "these branches drown the stream that they are added to"))
    total = 0.0
    for each in subject.residual_scales.values():
        total += float(each.double().abs().clamp(min=1e-300).log().sum())
    if not abs(total) <= limits["log_product"]:
        what = f"the factors on the residual stream multiply to e^{total:.2f}"
        findings.append(_finding(what, "early layers drown or vanish; compare with the norms that follow"))
    overall = {"branch_scales": float(len(branch)), "log_residual_product": total}
    if branch:
        overall |= {
            "smallest_branch_scale": smallest(branch.values()),
            "largest_branch_scale": largest(branch.values()),
        }
    return Outcome(overall=overall, per_site={}, findings=tuple(findings))


def _finding(what: str, advice: str) -> Finding:
    return Finding(severity=Severity.WARN, what=what, site="", sites=0, advice=advice)
