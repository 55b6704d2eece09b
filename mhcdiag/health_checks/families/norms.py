"""Norm weights that are broken, extreme, negative or dead, or whose whole level is off, in plain models."""

from collections.abc import Mapping, Sequence
from statistics import median

from mhcdiag.health_checks.interface import (
    HealthCheck,
    Outcome,
    Subject,
    above,
    largest,
    not_checkable,
    over,
    role_of,
    smallest,
)
from mhcdiag.results.health import Basis, Finding, Severity
from mhcdiag.weight_readers.records import NormWeight


def _run(subject: Subject, limits: Mapping[str, float]) -> Outcome:
    """Each norm weight against its own median, and its median against those of the other layers."""
    if subject.plain is None:
        return not_checkable("read for models with one residual stream only")
    norms = list(subject.plain.norms())
    skipped = subject.plain.unread_norms()
    if not norms:
        why = f"no norm weights could be read: {skipped[0]}" if skipped else "no norm weights under a known name"
        return not_checkable(why)
    # Medians and shares of a broken weight mean nothing: it is the only finding.
    broken = [norm.name for norm in norms if not _is_finite(norm)]
    if broken:
        what, advice = "a norm weight holds NaN or infinity", "go back to a sound checkpoint"
        finding = Finding(severity=Severity.FAIL, what=what, site=broken[0], sites=len(broken), advice=advice)
        return Outcome(overall={"broken": float(len(broken))}, per_site={}, findings=(finding,), skipped=skipped)
    shapes, of_shapes = _shapes([norm for norm in norms if not norm.inner] or norms, limits)
    levels, of_levels = _levels(norms, limits)
    return Outcome(
        overall={"broken": 0.0, **shapes, **levels},
        per_site={},
        findings=(*of_shapes, *of_levels),
        skipped=skipped,
    )


def _shapes(norms: Sequence[NormWeight], limits: Mapping[str, float]) -> tuple[dict[str, float], list[Finding]]:
    """Each norm against its own median."""
    names = [norm.name for norm in norms]
    middles = [float(norm.weight.abs().median()) for norm in norms]
    extreme = [over(float(norm.weight.abs().max()), middle) for norm, middle in zip(norms, middles, strict=True)]
    dead = [_share_dead(norm, limits["dead"]) for norm in norms]
    negative = [float((norm.weight < 0).double().mean()) for norm in norms]
    findings = above(
        names, extreme, {Severity.NOTE: limits["extreme_note"], Severity.WARN: limits["extreme_warn"]},
        what="the largest weight is {value} times the median (> {limit})",
        none="more than half of the weights are zero, others are not",
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
    return {"extreme": largest(extreme), "dead": largest(dead), "negative": largest(negative)}, findings


def _is_finite(norm: NormWeight) -> bool:
    return bool(norm.weight.isfinite().all()) and (norm.bias is None or bool(norm.bias.isfinite().all()))


def _share_dead(norm: NormWeight, part: float) -> float:
    size = norm.weight.abs()
    return float((size <= part * size.median()).double().mean())


def _levels(norms: Sequence[NormWeight], limits: Mapping[str, float]) -> tuple[dict[str, float], list[Finding]]:
    """A weight that is scaled as a whole looks sound in itself: its median tells beside those of its role elsewhere."""
    names = [norm.name for norm in norms]
    levels = [float(norm.weight.abs().median()) for norm in norms]
    roles = [role_of(name) for name in names]
    middles = {
        role: median(level for level, of in zip(levels, roles, strict=True) if of == role) for role in set(roles)
    }
    ratios = [over(level, middles[role]) for level, role in zip(levels, roles, strict=True)]
    # As a factor in either direction, so that one limit serves both.
    off = [max(ratio, over(1.0, ratio)) for ratio in ratios]
    findings = above(
        names, off, {Severity.NOTE: limits["level_note"], Severity.WARN: limits["level_warn"]},
        what="its median is a factor of {value} away from that of the same norm in the other layers (> {limit})",
        none="its median is zero, or that of the same norm in the other layers is",
        advice="scaled as a whole, or never trained: what it feeds is drowned or drowns the rest",
    )  # fmt: skip
    small = [i for i, level in enumerate(levels) if level < limits["small_warn"]]
    known = {finding.site for finding in findings if finding.severity is Severity.WARN}
    if small and names[small[0]] not in known:
        what = f"its median is {levels[small[0]]:.2g} (< {limits['small_warn']:g})"
        advice = "hardly anything passes this norm: was it scaled, or decayed away?"
        findings.append(
            Finding(severity=Severity.WARN, what=what, site=names[small[0]], sites=len(small), advice=advice)
        )
    return {"level_off": largest(off), "smallest_level": smallest(levels)}, findings


CHECK = HealthCheck(
    name="norms",
    formula=(
        "per norm weight g: max |g| / median |g|; share of |g| <= 0.001 median |g|; share of g < 0; median |g| over "
        "that of the same norm in all layers, either way; NaN and infinity in g and in the bias. Norms of queries and "
        "keys: their level and what is not finite"
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
        # The level of a norm grows over depth by a factor of ten or more in trained models.
        "level_note": 100.0,
        "level_warn": 1000.0,
        # No norm starts below 0.1 but those that start at zero on purpose (a branch that does not write yet).
        "small_warn": 1e-4,
    },
    run=_run,
)
