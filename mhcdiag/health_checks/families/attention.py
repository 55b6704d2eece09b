"""How large attention logits can become, from the query and key projections of plain models."""

from collections.abc import Mapping
from math import isnan

from mhcdiag.health_checks.interface import HealthCheck, Outcome, Subject, above, largest, not_checkable, over, smallest
from mhcdiag.results.health import Basis, Finding, Severity
from mhcdiag.weight_readers.query_key import LogitBound, logit_bound


def _run(subject: Subject, limits: Mapping[str, float]) -> Outcome:
    """A small bound clears a model, a large one condemns none."""
    if subject.plain is None:
        return not_checkable("read for models with one residual stream only")
    if subject.plain.unread_attention:
        return not_checkable(subject.plain.unread_attention)
    doubts = subject.plain.attention_doubts()
    found = [logit_bound(block) for block in subject.plain.attention()]
    blocks = [each.block for each in found]
    bounds = [each.largest for each in found]
    # NaN is the worst; `max` would drop it unless it came first.
    worst = max(range(len(found)), key=lambda i: bounds[i] if bounds[i] == bounds[i] else float("inf"))
    broken = [each.block for each in found if isnan(each.largest)]
    if broken:
        findings = [_broken(broken)]
    else:
        findings = above(
            blocks, bounds, {Severity.NOTE: limits["bound_note"], Severity.WARN: limits["bound_warn"]},
            what=f"logits of head {found[worst].head} are bounded by {{value}} only (> {{limit}}), for inputs of RMS 1",
            advice="measure the largest logit on real tokens; QK norms or QK-clip keep it small",
        )  # fmt: skip
    findings += _of_low_rank(found, limits["rank_note"])
    growth = _growth(subject, found)
    if growth:
        findings += above(
            list(growth), list(growth.values()), {Severity.WARN: limits["growth_warn"]},
            what="the bound is {value} times that of the earlier checkpoint (> {limit})",
            none="the bound was zero at the earlier checkpoint and is not",
            advice="attention logits are growing: watch the largest one, lower the learning rate or add QK norms",
        )  # fmt: skip
    # Hybrid models have blocks without attention: numbers per site are only those of all sites.
    whole = len(found) == len(subject.sites)
    per_site = {"bound": tuple(bounds), "spectral": tuple(each.spectral for each in found)}
    return Outcome(
        overall={
            "bound": bounds[worst],
            "spectral": largest(each.spectral for each in found),
            "rank": smallest(each.rank for each in found),
            **({"growth": largest(growth.values())} if growth else {}),
        },
        per_site=per_site if whole else {},
        findings=tuple(findings),
        skipped=doubts,
    )


def _of_low_rank(found: list[LogitBound], limit: float) -> list[Finding]:
    silent = [each for each in found if each.silent]
    if silent:
        what = f"W_q or W_k of {silent[0].silent} of its heads is zero: they attend evenly, whatever the inputs"
        advice = "never trained, or zeroed: compare with an earlier checkpoint"
        return [Finding(severity=Severity.WARN, what=what, site=silent[0].block, sites=len(silent), advice=advice)]
    flat = [each for each in found if each.rank < limit]
    if not flat:
        return []
    what = f"a head's W_q^T W_k has effective rank {flat[0].rank:.2f} (< {limit:g})"
    advice = "it attends by one feature: compare with an earlier checkpoint"
    return [Finding(severity=Severity.NOTE, what=what, site=flat[0].block, sites=len(flat), advice=advice)]


def _broken(blocks: list[str]) -> Finding:
    what, advice = (
        "the query or key projection, or a norm beside it, holds NaN or infinity",
        "go back to a sound checkpoint",
    )
    return Finding(severity=Severity.FAIL, what=what, site=blocks[0], sites=len(blocks), advice=advice)


def _growth(subject: Subject, found: list[LogitBound]) -> dict[str, float]:
    """How many times the earlier bound each block's is; empty without an earlier plain checkpoint."""
    if subject.earlier is None or subject.earlier.plain is None:
        return {}
    earlier = {bound.block: bound.largest for bound in map(logit_bound, subject.earlier.plain.attention())}
    return {each.block: over(each.largest, earlier[each.block]) for each in found if each.block in earlier}


CHECK = HealthCheck(
    name="attention",
    formula=(
        "per head s = sigma1(W_q^T W_k) / sqrt(d_head), the norm before folded in; |logit| <= d s for inputs of RMS "
        "1, d sigma1(W_q) sigma1(W_k) / sqrt(d_head) where positions rotate q and k; behind QK norms of weights g only "
        "sqrt(d_head) max |g_q| max |g_k|, whatever the projections; effective rank exp(entropy of singular values)"
    ),
    source="arXiv 2309.14322 (runs above 1e4 diverged), 2507.20534 (QK-clip), 2606.28116 (spectrum of W_q^T W_k)",
    basis=Basis.BOUND,
    thresholds={
        # Runs whose largest logit passed 1e4 diverged (arXiv 2309.14322). A bound is not reached: real logits are often
        # ten times smaller, so that the same number is only a note here, and a warning a hundred times above.
        "bound_note": 1e4,
        "bound_warn": 1e6,
        # Rules of thumb.
        "growth_warn": 4.0,
        "rank_note": 1.5,
    },
    run=_run,
)
