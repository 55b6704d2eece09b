"""Whether the mixer mixes at all, and whether it moves."""

from collections.abc import Mapping
from math import log

import torch

from mhcdiag.health_checks.interface import TINY, HealthCheck, Outcome, Subject, not_checkable
from mhcdiag.results.health import Basis, Finding, Severity


def _run(subject: Subject, limits: Mapping[str, float]) -> Outcome:
    """Near the identity and unmoved is stuck; near it and moving may be chosen (some recipes start and stay there)."""
    streams = subject.maps.shape[1]
    if streams < 2:
        return not_checkable("there is one stream")
    if not subject.mixes:
        return not_checkable("this layout never mixes its streams: every H_res is the identity by design")
    weights = subject.maps.abs().clamp(min=TINY)
    entropy = (-(weights * weights.log()).sum(dim=2).mean(dim=(1, 2)) / log(streams)).tolist()
    identity = (1 - subject.maps.diagonal(dim1=1, dim2=2).sum(dim=-1).mean(dim=-1) / streams).tolist()
    uniform = (subject.maps - 1 / streams).abs().amax(dim=(1, 2)).mean(dim=-1).tolist()
    moved = _moved(subject)
    inert = [i for i, d in enumerate(identity) if abs(d) < limits["identity"] and entropy[i] < limits["entropy_inert"]]
    flat = [i for i, value in enumerate(entropy) if value > limits["entropy_uniform"]]
    count = len(identity)
    findings = []
    if inert and len(inert) >= limits["share"] * count:
        still = moved is not None and all(moved[i] <= limits["unmoved"] for i in inert)
        said = " and has not moved since the earlier checkpoint" if still else ""
        findings.append(
            Finding(
                severity=Severity.FAIL if still else Severity.WARN,
                what=f"H_res is the identity at {len(inert)} of {count} sites (under {limits['identity']:g}){said}",
                site=subject.sites[inert[0]],
                sites=len(inert),
                advice="raise the temperature or bring the initial logits together; compare with an earlier checkpoint",
            )
        )
    if flat and len(flat) >= limits["share"] * count:
        findings.append(
            Finding(
                severity=Severity.WARN,
                what=f"rows are uniform at {len(flat)} of {count} sites (entropy > {limits['entropy_uniform']:g})",
                site=subject.sites[flat[0]],
                sites=len(flat),
                advice="every site averages the streams: start the logits away from equal",
            )
        )
    per_site = {"from_identity": tuple(identity), "from_uniform": tuple(uniform), "entropy": tuple(entropy)}
    return Outcome(
        overall={"inert_sites": float(len(inert)), "uniform_sites": float(len(flat))},
        per_site=per_site | ({} if moved is None else {"moved": tuple(moved)}),
        findings=tuple(findings),
    )


def _moved(subject: Subject) -> list[float] | None:
    earlier = subject.earlier
    if earlier is None or subject.parameters is None or earlier.parameters is None:
        return None
    change: torch.Tensor = subject.parameters.base.double() - earlier.parameters.base.double()
    moved: list[float] = change.abs().amax(dim=(-2, -1)).tolist()
    return moved


CHECK = HealthCheck(
    name="frozen",
    formula=(
        "1 - tr(H)/n, largest |H - 1/n|, row entropy -sum H ln H / ln n, token means; against an earlier checkpoint: "
        "largest change of a logit"
    ),
    source="tokenbender/mHC-manifold-constrained-hyper-connections issue 2 (tau 0.05 and -8 start)",
    basis=Basis.MEASURED,
    thresholds={
        # 0.99 on the diagonal with next to no entropy. A reproduction at 1.7B and 8B parameters found 0.96, whose
        # products mix within some ten layers.
        "identity": 0.01,
        "entropy_inert": 0.02,
        "entropy_uniform": 0.98,
        # One step of float32 for a logit of 8, the size of the start that froze mixers.
        "unmoved": 1e-6,
        # A single such mixer is no defect of a model.
        "share": 0.5,
    },
    run=_run,
)
