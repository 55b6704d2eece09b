"""How strongly attention and feed-forward blocks of plain models write to the residual stream, over depth."""

from collections.abc import Mapping, Sequence
from math import isfinite
from statistics import median

from mhcdiag.health_checks.interface import HealthCheck, Outcome, Subject, above, not_checkable, over
from mhcdiag.results.health import Basis, Finding, Severity
from mhcdiag.weight_readers.records import Writer


def _run(subject: Subject, limits: Mapping[str, float]) -> Outcome:
    """Output projections outside experts, which are too large to read and too many to compare."""
    if subject.plain is None:
        return not_checkable("read for models with one residual stream only")
    writers = list(subject.plain.writers())
    if not writers:
        return not_checkable("no output projections under a known name (o_proj, down_proj, c_proj, ...)")
    skipped = subject.plain.unread_writers()
    names = [writer.name for writer in writers]
    broken = [writer.name for writer in writers if not isfinite(writer.rms) or not isfinite(writer.spectral)]
    if broken:
        what, advice = "the output projection holds NaN or infinity", "go back to a sound checkpoint"
        finding = Finding(severity=Severity.FAIL, what=what, site=broken[0], sites=len(broken), advice=advice)
        return Outcome(overall={"broken": float(len(broken))}, per_site={}, findings=(finding,), skipped=skipped)
    spectral = _over_median(writers, [writer.spectral for writer in writers])
    size = _over_median(writers, [writer.rms for writer in writers])
    findings = above(
        names, spectral, {Severity.NOTE: limits["spectral_note"], Severity.WARN: limits["spectral_warn"]},
        what="its largest singular value is {value} times the median of its kind (> {limit})",
        none="it writes, where most of its kind are zero",
        advice="one direction dominates what is written: a source of massive activations",
    )  # fmt: skip
    findings += _silent(writers, size, limits)
    return Outcome(
        overall={
            "broken": 0.0,
            "spectral": max(writer.spectral for writer in writers),
            "spectral_over_median": max(spectral),
            "smallest_over_median": min(size),
        },
        per_site=_by_kind(writers, len(subject.sites)),
        findings=tuple(findings),
        skipped=skipped,
    )


def _silent(writers: Sequence[Writer], size: Sequence[float], limits: Mapping[str, float]) -> list[Finding]:
    """Writers far below their kind; a kind that is zero for the most part is a start of several recipes."""
    middles = _medians(writers, [writer.rms for writer in writers])
    zeros = [writer.name for writer in writers if writer.rms == 0 == middles[writer.kind]]
    silent = [i for i, value in enumerate(size) if value < limits["silent"] and middles[writers[i].kind] > 0]
    findings = []
    if silent:
        what = f"writes {size[silent[0]]:.2g} of the median of its kind (< {limits['silent']:g})"
        advice = "this branch hardly writes: removed, never trained, or decayed away"
        site = writers[silent[0]].name
        findings.append(Finding(severity=Severity.WARN, what=what, site=site, sites=len(silent), advice=advice))
    if zeros:
        what, advice = "writes nothing (all zero), as most of its kind", "fresh from the start, or never trained"
        findings.append(Finding(severity=Severity.NOTE, what=what, site=zeros[0], sites=len(zeros), advice=advice))
    return findings


def _medians(writers: Sequence[Writer], values: Sequence[float]) -> dict[str, float]:
    kinds = {writer.kind for writer in writers}
    return {
        kind: median(value for writer, value in zip(writers, values, strict=True) if writer.kind == kind)
        for kind in kinds
    }


def _over_median(writers: Sequence[Writer], values: Sequence[float]) -> list[float]:
    """Nothing is 0 of whatever median, so that a gate on the smallest fails."""
    middle = _medians(writers, values)
    return [over(value, middle[writer.kind]) if value else 0.0 for writer, value in zip(writers, values, strict=True)]


def _by_kind(writers: Sequence[Writer], sites: int) -> dict[str, tuple[float, ...]]:
    """RMS and spectral norm over depth, of each kind that every block has."""
    found: dict[str, tuple[float, ...]] = {}
    for kind, name in (("attention", "attention"), ("feed-forward", "feed_forward")):
        of_kind = [writer for writer in writers if writer.kind == kind]
        if len(of_kind) == sites:
            found[f"{name}_rms"] = tuple(writer.rms for writer in of_kind)
            found[f"{name}_spectral"] = tuple(writer.spectral for writer in of_kind)
    return found


CHECK = HealthCheck(
    name="writers",
    formula=(
        "per output projection W: sigma1(W) by subspace iteration; RMS of the output per unit RMS of an isotropic "
        "input, |W|_F / sqrt(outputs); each over the median of its kind (attention, feed-forward)"
    ),
    source="drift of weight norms: arXiv 2407.05872; scaled start 1/sqrt(2N) of GPT-2",
    basis=Basis.HEURISTIC,
    thresholds={
        # Rules of thumb, over the median of all blocks: the start of GPT-2, 1/sqrt(2N), scales all of them alike.
        "spectral_note": 10.0,
        "spectral_warn": 100.0,
        "silent": 0.01,
    },
    run=_run,
)
