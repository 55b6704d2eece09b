"""Mixers that are stored in 16 bits where their family keeps 32: what the lost digits may have been worth."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from mhcdiag.health_checks.interface import HealthCheck, Outcome, Subject, largest, not_checkable, prefixes
from mhcdiag.results.health import Basis, Finding, Severity


def _run(subject: Subject, limits: Mapping[str, float]) -> Outcome:
    """Drawn, since what was rounded away is not stored: any of these parameters is rounded to those that are."""
    if subject.coarse is None:
        return not_checkable("captured mappings and plain models have no such parameters")
    count = float(len(subject.coarse.names))
    if not subject.coarse.names or subject.redrawn is None:
        return Outcome(overall={"coarse_tensors": count}, per_site={})
    stored, *drawn = subject.redrawn()
    changes = torch.stack([(each - stored).abs().amax(dim=(1, 2)).mean(dim=-1) for each in drawn]).amax(dim=0).tolist()
    gains = _log_gains(stored)
    gain = largest(torch.stack([(_log_gains(each) - gains).abs().expm1() for each in drawn]).flatten().tolist())
    findings = []
    if subject.coarse.unusual and not max(largest(changes), gain) <= limits["change"]:
        worst = max(range(len(changes)), key=changes.__getitem__)
        kinds = " and ".join(subject.coarse.dtypes)
        what = (
            f"{count:.0f} mixing tensors are stored in {kinds} where this family keeps float32: rounding alone may "
            f"have changed H_res by {largest(changes):.2g} and the composite gain by {gain:.2g} of itself"
        )
        advice = "keep mixers in float32 when saving (what was rounded away is lost); convert from the original"
        site = subject.sites[worst]
        findings.append(Finding(severity=Severity.WARN, what=what, site=site, sites=len(changes), advice=advice))
    return Outcome(
        overall={"coarse_tensors": count, "h_change": largest(changes), "gain_change": gain},
        per_site={"h_change": tuple(changes)},
        findings=tuple(findings),
    )


def _log_gains(maps: Float[Tensor, "site stream stream token"]) -> Float[Tensor, " direction"]:
    """Logarithms of the token means of the largest absolute row and column sum of the composite."""
    composite = prefixes(maps)
    last, logs = composite.matrices[-1].abs(), composite.logs[-1]
    return torch.stack([(last.sum(dim=axis).amax(dim=-1).log() + logs).logsumexp(dim=0) for axis in (-1, -2)])


CHECK = HealthCheck(
    name="precision",
    formula=(
        "mixing parameters stored in BF16 or FP16 redrawn uniformly within half a unit of their last place, three "
        "times: token mean of max |H' - H| of a site, gain' / gain of the whole composite less 1, 32 random tokens"
    ),
    source=(
        "float32 mixers in DeepSeek-V4's release and in transformers (`_keep_in_fp32_modules_strict`); BF16 error of "
        "1.16e-2 against 1.43e-6 in llama.cpp #28696"
    ),
    basis=Basis.MEASURED,
    thresholds={
        # Any change that float32 would not make: its own rounding changes H_res by less than 1e-6.
        "change": 1e-6,
    },
    run=_run,
)
