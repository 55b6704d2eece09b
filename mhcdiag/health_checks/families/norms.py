"""Norm weights that are broken, extreme, negative or dead, in plain models."""

from collections.abc import Mapping

from mhcdiag.health_checks.interface import TINY, HealthCheck, Outcome, Subject, above, not_checkable
from mhcdiag.results.health import Basis, Finding, Severity
from mhcdiag.weight_readers.records import NormWeight


def _run(subject: Subject, limits: Mapping[str, float]) -> Outcome:
    """Each norm weight against its own median: their level differs from model to model."""
    if subject.plain is None:
        return not_checkable("read for models with one residual stream only")
    norms = list(subject.plain.norms())
    if not norms:
        return not_checkable("no norm weights under a known name")
    # Medians and shares of a broken weight mean nothing: it is the only finding.
    broken = [norm.name for norm in norms if not norm.weight.isfinite().all()]
    if broken:
        what, advice = "a norm weight holds NaN or infinity", "go back to a sound checkpoint"
        finding = Finding(severity=Severity.FAIL, what=what, site=broken[0], sites=len(broken), advice=advice)
        return Outcome(overall={"broken": float(len(broken))}, per_site={}, findings=(finding,))
    names = [norm.name for norm in norms]
    extreme = [float(norm.weight.abs().max() / norm.weight.abs().median().clamp(min=TINY)) for norm in norms]
    dead = [_share_dead(norm, limits["dead"]) for norm in norms]
    negative = [float((norm.weight < 0).double().mean()) for norm in norms]
    findings = above(
        names, extreme, {Severity.NOTE: limits["extreme_note"], Severity.WARN: limits["extreme_warn"]},
        what="the largest weight is {value} times the median (> {limit})",
        advice="one channel outweighs the others: expect outliers there, bad for fp8 and int8",
    )  # fmt: skip
    findings += above(
        names, dead, {Severity.WARN: limits["dead_warn"]},
        what=f"{{value}} of the weights are under {limits['dead']:g} of the median (> {{limit}})",
        advice="these channels are never read: is weight decay on the norms?",
    )  # fmt: skip
    findings += above(
        names, negative, {Severity.NOTE: limits["negative_note"]},
        what="{value} of the weights are negative (> {limit})", advice="usual for none: check how they were loaded",
    )  # fmt: skip
    return Outcome(
        overall={"broken": 0.0, "extreme": max(extreme), "dead": max(dead), "negative": max(negative)},
        per_site={},
        findings=tuple(findings),
    )


def _share_dead(norm: NormWeight, part: float) -> float:
    size = norm.weight.abs()
    return float((size <= part * size.median()).double().mean())


CHECK = HealthCheck(
    name="norms",
    formula=(
        "per norm weight g: max |g| / median |g|; share of |g| <= 0.001 median |g|; share of g < 0; NaN and infinity"
    ),
    source="outlier channels: arXiv 2409.12517, 2505.06708; weight decay of norms by usual practice",
    basis=Basis.HEURISTIC,
    thresholds={
        # Rules of thumb: outlier channels are usual in large models (arXiv 2409.12517, 2505.06708).
        "extreme_note": 50.0,
        "extreme_warn": 500.0,
        "dead": 1e-3,
        "dead_warn": 0.1,
        "negative_note": 0.25,
    },
    run=_run,
)
