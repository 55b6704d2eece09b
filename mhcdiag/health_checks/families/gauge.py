"""How much of the gain is real: the first site apart, and the channels from branch to branch."""

from collections.abc import Mapping
from math import log, nan

import torch

from mhcdiag.health_checks.interface import TINY, HealthCheck, Outcome, Subject, prefixes
from mhcdiag.results.health import Basis, Finding, Severity

_CALM = log(2)
"""ln of the gain up to which there is nothing to share out."""


def _run(subject: Subject, limits: Mapping[str, float]) -> Outcome:
    """All streams are equal before the first site of HC: what it does to them is a rescaling of the embedding."""
    whole = _log_gain(subject.maps)
    first = _log_gain(subject.maps[:1])
    later = _log_gain(subject.maps[1:]) if len(subject.sites) > 1 else 0.0
    overall = {"log_gain": whole, "log_gain_first": first, "log_gain_later": later}
    findings = []
    if whole > _CALM and first > limits["first_share_note"] * whole:
        what = f"the first site makes {first / whole:.0%} of the log-gain: a rescaling, since its streams are equal"
        advice = "judge the gain without it: --sites 2:N"
        findings.append(Finding(severity=Severity.NOTE, what=what, site=subject.sites[0], sites=1, advice=advice))
    if subject.gates is not None:
        overall["kernel_rank"] = _kernel_rank(subject)
    return Outcome(overall=overall, per_site={}, findings=tuple(findings))


def _log_gain(maps: torch.Tensor) -> float:
    composite = prefixes(maps)
    rows = composite.matrices[-1].abs().sum(dim=-1).amax(dim=-1)
    return float((rows.log() + composite.logs[-1]).mean())


def _kernel_rank(subject: Subject) -> float:
    """Effective rank of K over sites, from token-mean mappings."""
    assert subject.gates is not None
    maps = subject.maps.mean(dim=-1)
    pre = torch.stack([site.reads() for site in subject.gates])
    post = torch.stack([site.writes() for site in subject.gates])
    count = maps.shape[0]
    # Unlike the composite gain, K does not change where a site's mapping is absorbed into its neighbours' pre and post.
    kernel = torch.zeros(count, count, dtype=torch.float64)
    for i in range(count - 1):
        carried = post[i]
        for j in range(i + 1, count):
            kernel[j, i] = pre[j] @ carried
            carried = maps[j] @ carried
    if not kernel.isfinite().all():  # a pre or post weight is not, which leaves the mappings as they are
        return nan
    values = torch.linalg.svdvals(kernel)
    shares = values / values.sum().clamp(min=TINY)
    return float(torch.exp(-(shares * shares.clamp(min=TINY).log()).sum()))


CHECK = HealthCheck(
    name="gauge",
    formula=(
        "ln of the forward gain of the first site (all streams are equal there: a rescaling, not an amplification) "
        "and of all later ones; K_ij = H_pre,j P(i+1, j-1) H_post,i and its effective rank exp(entropy of singular "
        "values)"
    ),
    source="arXiv 2512.24880 Figure 8: the first H of HC is I + u 1^T",
    basis=Basis.MEASURED,
    thresholds={
        # The rescaling of the first site explains most of the gain.
        "first_share_note": 0.5,
    },
    run=_run,
)
