"""Factors with which branches are written, in plain models too: LayerScale, ReZero, residual lambdas."""

from collections.abc import Mapping
from math import log

import torch
from jaxtyping import Float
from torch import Tensor

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
from mhcdiag.mappings.diagonal import SiteFactors
from mhcdiag.results.health import Basis, Severity
from mhcdiag.results.numbers import from_log2, text


def _run(subject: Subject, limits: Mapping[str, float]) -> Outcome:
    """From weights and the configuration; most models have no such factors."""
    stated = {} if subject.plain is None else subject.plain.config_scales
    factors = subject.residual_factors
    if not subject.branch_scales and factors is None and not stated:
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
    totals = _log_products(factors)
    total, least = float(totals.max()), float(totals.min())
    # The channel that grows most is the gain of the model; one that vanishes is a finding as well.
    for beyond in (total, least) if least < 0 < total else (total if total > 0 else least,):
        if not abs(beyond) <= limits["log_product"]:
            product = text(from_log2(beyond / log(2)))
            channel = " in one channel" if total != least else ""
            what = f"the factors on the residual stream multiply to {product}{channel}"
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


def _log_products(factors: SiteFactors | None) -> Float[Tensor, " channel"]:
    """Logarithm of |product over sites| by channel: a negative factor turns the stream around, and its size stays."""
    if factors is None:
        return torch.zeros(1, dtype=torch.float64)
    return factors.double().abs().clamp(min=TINY).log().sum(dim=0)


CHECK = HealthCheck(
    name="scales",
    formula=(
        "mean |s| of every branch factor s, of the weights in depth order and of the configuration; ln |product| of "
        "the factors on the residual stream itself, in the channel that grows most"
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
