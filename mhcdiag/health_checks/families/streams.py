"""Which streams are read and written at all, and whether captured streams have become copies of one another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from mhcdiag.health_checks.interface import (
    TINY,
    UNREAD_SPREADS,
    HealthCheck,
    Outcome,
    Subject,
    model_finding,
    not_checkable,
)
from mhcdiag.mappings.interface import GateActivation, SiteGates
from mhcdiag.results.health import Basis, Finding, Severity
from mhcdiag.weight_readers.records import GateSpread, SiteActivations


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    """What one half of the check found."""

    overall: dict[str, float] = field(default_factory=dict)
    per_site: dict[str, tuple[float, ...]] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


def _run(subject: Subject, limits: Mapping[str, float]) -> Outcome:
    """Two halves that need different things: pre and post weights, or captured streams."""
    if subject.maps.shape[1] < 2:
        return not_checkable("there is one stream")
    if subject.gates is None and not subject.activations:
        return not_checkable("the layout does not tell pre and post weights, and no activations were captured")
    weights = _Part() if subject.gates is None else _weights(subject.gates, subject.gate_spreads, limits)
    copies = _copies(subject.sites, subject.activations, limits) if subject.activations else _Part()
    return Outcome(
        overall=weights.overall | copies.overall,
        per_site=weights.per_site | copies.per_site,
        findings=(*weights.findings, *copies.findings),
        skipped=(UNREAD_SPREADS,) if subject.gates is not None and subject.unread_spreads else (),
    )


def _weights(gates: Sequence[SiteGates], spreads: Sequence[GateSpread] | None, limits: Mapping[str, float]) -> _Part:
    if spreads is not None and all(site.gate is GateActivation.SIGMOID for site in gates):
        pre = torch.stack([_mean_sigmoid(site.pre, spread.pre) for site, spread in zip(gates, spreads, strict=True)])
        post = torch.stack([_mean_sigmoid(site.post, spread.post) for site, spread in zip(gates, spreads, strict=True)])
    else:
        pre = torch.stack([site.reads() for site in gates])
        post = torch.stack([site.writes() for site in gates])
    unread = (pre < limits["dead"] * pre.sum(dim=1, keepdim=True)).all(dim=0)
    unwritten = (post < limits["dead"] * post.mean()).all(dim=0)
    share = pre.square().sum(dim=0) / pre.square().sum().clamp(min=TINY)
    effective = float(torch.exp(-(share * share.clamp(min=TINY).log()).sum()))
    findings = []
    for dead, verb in ((unread, "read"), (unwritten, "written to")):
        streams = [str(i) for i in range(len(dead)) if dead[i]]
        if streams:
            what = f"stream {', '.join(streams)} is never {verb} (under {limits['dead']:g} at every site)"
            findings.append(model_finding(Severity.WARN, what, "it carries nothing: fewer streams would do"))
    if effective < limits["effective"]:
        what = f"{effective:.2f} of {len(share)} streams are read effectively (< {limits['effective']:g})"
        findings.append(model_finding(Severity.WARN, what, "one stream does the work of all"))
    elif float(share.max()) > limits["dominant"]:
        what = f"stream {int(share.argmax())} has {float(share.max()):.0%} of what is read"
        findings.append(model_finding(Severity.NOTE, what, "the others hardly matter"))
    return _Part(
        overall={"effective_streams": effective, "largest_share": float(share.max())},
        per_site={"largest_pre": tuple(pre.amax(dim=1).tolist()), "largest_post": tuple(post.amax(dim=1).tolist())},
        findings=tuple(findings),
    )


def _mean_sigmoid(logits: Tensor, deviation: Tensor) -> Float[Tensor, " stream"]:
    """Mean of sigmoid(N(logit, deviation^2)), by the trapezoidal rule over eight deviations to either side."""
    at = torch.linspace(-8.0, 8.0, 641, dtype=torch.float64)
    weight = torch.exp(-(at**2) / 2)
    moved = torch.sigmoid(logits.double()[:, None] + deviation.double()[:, None] * at)
    found: Tensor = (moved * weight).sum(dim=-1) / weight.sum()
    return found


def _copies(sites: Sequence[str], activations: Sequence[SiteActivations], limits: Mapping[str, float]) -> _Part:
    """Streams after each site where they were captured, else before it; only a rise over depth is a warning."""
    cosines = [_cosine(site.x_in if site.x_out is None else site.x_out) for site in activations]
    apart = min(range(len(cosines)), key=cosines.__getitem__)
    findings: tuple[Finding, ...] = ()
    if cosines[-1] > limits["copies"] and cosines[apart] < limits["apart"]:
        what = (
            f"the mean cosine of streams rises from {cosines[apart]:.3f} to {cosines[-1]:.3f} (> {limits['copies']:g})"
        )
        advice = "the streams become copies of one: mixers closer to the identity keep them apart"
        finding = Finding(severity=Severity.WARN, what=what, site=sites[apart], sites=1, advice=advice)
        findings = (finding,)
    elif cosines[apart] > limits["copies"]:
        what = f"streams are copies of one another at every site (mean cosine at least {cosines[apart]:.4f})"
        advice = "an equal start and equal writes do that too, so it says nothing of mixing; fewer streams would do"
        findings = (model_finding(Severity.NOTE, what, advice),)
    return _Part(
        overall={"smallest_cosine": cosines[apart], "last_cosine": cosines[-1]},
        per_site={"cosine": tuple(cosines)},
        findings=findings,
    )


def _cosine(x: Float[Tensor, "token stream width"]) -> float:
    """Mean over tokens and pairs of different streams."""
    unit = x.double() / x.double().norm(dim=-1, keepdim=True).clamp(min=TINY)
    gram = unit @ unit.mT
    streams = x.shape[1]
    return float(
        (gram.sum(dim=(-2, -1)) - gram.diagonal(dim1=-2, dim2=-1).sum(dim=-1)).mean() / (streams * (streams - 1))
    )


CHECK = HealthCheck(
    name="streams",
    formula=(
        "dead read: H_pre of a stream < 0.01 of the site's sum at every site; dead write: H_post < 0.01 of the mean; "
        "effective number exp(-sum p ln p), p the share of a stream in sum over sites of H_pre^2; means over inputs of "
        "RMS 1, or the input-independent parts where no others are read; mean cosine of pairs of streams per depth, "
        "where they were captured"
    ),
    source="arXiv 2609.05309 (DeepSeek-V4-Flash uses about 2 of 4 streams); 2606.03483 (stream collapse)",
    basis=Basis.HEURISTIC,
    thresholds={
        # A hundredth of an even share or less, at every site.
        "dead": 0.01,
        # DeepSeek-V4-Flash reads about 2 of its 4 streams (arXiv 2609.05309) and is sound.
        "effective": 1.5,
        # A rule of thumb, and a note only.
        "dominant": 0.7,
        # Streams of Identity-HC, which never mixes, stay at 0.99 from an equal start with nearly equal writes: only a
        # rise from clearly different streams is a sign of mixing.
        "copies": 0.99,
        "apart": 0.9,
    },
    run=_run,
)
