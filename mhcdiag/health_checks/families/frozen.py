"""Whether the mixer mixes at all, and whether it moves.

A permutation mixes as little as the identity: streams change places, and none learns of another. Sinkhorn ends on
either where logits lie far apart.
"""

from collections.abc import Mapping, Sequence
from math import log

import torch
from jaxtyping import Float
from torch import Tensor

from mhcdiag.health_checks.interface import TINY, HealthCheck, Outcome, Subject, model_finding, not_checkable
from mhcdiag.results.health import Basis, Finding, Severity


def _run(subject: Subject, limits: Mapping[str, float]) -> Outcome:
    """Near a permutation and unmoved is stuck; near it and moving may be chosen: some recipes start there."""
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
    sure = [value < limits["entropy_inert"] for value in entropy]
    inert = [i for i, d in enumerate(identity) if abs(d) < limits["identity"] and sure[i]]
    permuted = [
        i
        for i, d in enumerate(_from_permutation(subject.maps))
        if d < limits["identity"] and sure[i] and i not in inert
    ]
    locked = [*inert, *permuted]
    flat = [i for i, value in enumerate(entropy) if value > limits["entropy_uniform"]]
    count = len(identity)
    findings = []
    if locked and len(locked) >= limits["share"] * count:
        still = moved is not None and all(moved[i] <= limits["unmoved"] for i in locked)
        findings.append(_locked(subject, inert, permuted, still=still, limit=limits["identity"]))
    if flat and len(flat) >= limits["share"] * count:
        findings.append(_uniform(subject, flat, limit=limits["entropy_uniform"]))
    if not locked and moved is not None and _all_still(subject, limits["unmoved"]):
        what = "no parameter of any mixer has moved since the earlier checkpoint"
        advice = "are they in the optimiser? and are these two checkpoints of different steps?"
        findings.append(model_finding(Severity.WARN, what, advice))
    per_site = {"from_identity": tuple(identity), "from_uniform": tuple(uniform), "entropy": tuple(entropy)}
    return Outcome(
        overall={
            "inert_sites": float(len(inert)),
            "permuted_sites": float(len(permuted)),
            "uniform_sites": float(len(flat)),
        },
        per_site=per_site | ({} if moved is None else {"moved": tuple(moved)}),
        findings=tuple(findings),
    )


def _locked(subject: Subject, inert: Sequence[int], permuted: Sequence[int], *, still: bool, limit: float) -> Finding:
    count = len(subject.sites)
    kinds = [f"the identity at {len(inert)} of {count}"] if inert else []
    kinds += [f"a permutation that swaps streams at {len(permuted)} of {count}"] if permuted else []
    said = " and has not moved since the earlier checkpoint" if still else ""
    return Finding(
        severity=Severity.FAIL if still else Severity.WARN,
        what=f"H_res is {' and '.join(kinds)} sites (under {limit:g}){said}",
        site=subject.sites[min([*inert, *permuted])],
        sites=len(inert) + len(permuted),
        advice="raise the temperature or bring the logits together; compare with an earlier checkpoint",
    )


def _uniform(subject: Subject, flat: Sequence[int], *, limit: float) -> Finding:
    return Finding(
        severity=Severity.WARN,
        what=f"rows are uniform at {len(flat)} of {len(subject.sites)} sites (entropy > {limit:g})",
        site=subject.sites[flat[0]],
        sites=len(flat),
        advice="every site averages the streams: start the logits away from equal",
    )


def _from_permutation(maps: Float[Tensor, "site stream stream token"]) -> list[float]:
    """Per site 1 - (1/n) sum over rows of the largest entry, token mean; 1 where two rows share their stream.

    |H_ij| = 1 in one place of every row and column: a sign would turn a stream around and mix as little.
    """
    largest, chosen = maps.abs().max(dim=2)
    streams = maps.shape[1]
    different = torch.zeros_like(maps[:, 0]).scatter_(1, chosen, 1.0).sum(dim=1) == streams
    away = (1 - largest.mean(dim=1)).abs()
    found: list[float] = torch.where(different, away, torch.ones_like(away)).mean(dim=-1).tolist()
    return found


def _all_still(subject: Subject, limit: float) -> bool:
    """Whether static logits, factors and projections are all what they were."""
    now, then = subject.parameters, None if subject.earlier is None else subject.earlier.parameters
    assert now is not None
    assert then is not None
    pairs = [(now.base, then.base), (now.scale, then.scale)]
    if now.factors is not None and then.factors is not None:
        pairs += [(one.triangle, other.triangle) for one, other in zip(now.factors, then.factors, strict=True)]
    return all(float((one.double() - other.double()).abs().max()) <= limit for one, other in pairs)


def _moved(subject: Subject) -> list[float] | None:
    earlier = subject.earlier
    if earlier is None or subject.parameters is None or earlier.parameters is None:
        return None
    change: Tensor = subject.parameters.base.double() - earlier.parameters.base.double()
    moved: list[float] = change.abs().amax(dim=(-2, -1)).tolist()
    return moved


CHECK = HealthCheck(
    name="frozen",
    formula=(
        "1 - tr(H)/n, the same for the permutation of the largest entries, largest |H - 1/n|, row entropy "
        "-sum H ln H / ln n, token means; against an earlier checkpoint: largest change of a logit"
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
