"""Which streams are read and written at all."""

from collections.abc import Mapping

import torch

from mhcdiag.checkups.interface import Outcome, Subject, not_checkable
from mhcdiag.results.health import Basis, Finding, Severity

NAME = "streams"
FORMULA = (
    "dead read: H_pre of a stream < 0.01 of the site's sum at every site; dead write: H_post < 0.01 of the mean; "
    "effective number exp(-sum p ln p), p the share of a stream in sum over sites of H_pre^2; input-independent parts"
)
SOURCE = "arXiv 2609.05309 (DeepSeek-V4-Flash uses about 2 of 4 streams)"
BASIS = Basis.HEURISTIC
THRESHOLDS = {"dead": 0.01, "effective": 1.5, "dominant": 0.7}


def run(subject: Subject, limits: Mapping[str, float]) -> Outcome:
    """See `Check`."""
    if subject.gates is None or subject.maps.shape[1] < 2:
        return not_checkable("the layout does not offer pre and post weights, or there is one stream")
    pre = torch.stack([site.pre for site in subject.gates]).double().sigmoid()
    post = torch.stack([site.post for site in subject.gates]).double().sigmoid() * 2
    unread = (pre < limits["dead"] * pre.sum(dim=1, keepdim=True)).all(dim=0)
    unwritten = (post < limits["dead"] * post.mean()).all(dim=0)
    share = pre.square().sum(dim=0) / pre.square().sum()
    effective = float(torch.exp(-(share * share.clamp(min=1e-300).log()).sum()))
    findings = []
    for dead, verb in ((unread, "read"), (unwritten, "written to")):
        streams = [str(i) for i in range(len(dead)) if dead[i]]
        if streams:
            what = f"stream {', '.join(streams)} is never {verb} (under {limits['dead']:g} at every site)"
            findings.append(_finding(Severity.WARN, what, "it carries nothing: fewer streams would do"))
    if effective < limits["effective"]:
        what = f"{effective:.2f} of {len(share)} streams are read effectively (< {limits['effective']:g})"
        findings.append(_finding(Severity.WARN, what, "one stream does the work of all"))
    elif float(share.max()) > limits["dominant"]:
        what = f"stream {int(share.argmax())} has {float(share.max()):.0%} of what is read"
        findings.append(_finding(Severity.NOTE, what, "the others hardly matter"))
    return Outcome(
        overall={"effective_streams": effective, "largest_share": float(share.max())},
        per_site={"largest_pre": tuple(pre.amax(dim=1).tolist()), "largest_post": tuple(post.amax(dim=1).tolist())},
        findings=tuple(findings),
    )


def _finding(severity: Severity, what: str, advice: str) -> Finding:
    return Finding(severity=severity, what=what, site="", sites=0, advice=advice)
