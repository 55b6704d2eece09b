"""How long streams stay different over depth."""

from collections.abc import Mapping

import torch

from mhcdiag.health_checks.interface import HealthCheck, Outcome, Subject, dobrushin, lyapunov, not_checkable, prefixes
from mhcdiag.results.health import Basis, Finding, Severity


def _not_finite(site: str, sites: int) -> Finding:
    return Finding(
        severity=Severity.FAIL,
        what="H_res holds NaN or infinity: nothing that passes survives",
        site=site,
        sites=sites,
        advice="mhcdiag gain counts the tokens; go back to a checkpoint before it, and look at its logs",
    )


def _run(subject: Subject, limits: Mapping[str, float]) -> Outcome:
    """That capacity goes unused is measured; that it harms is not shown, and this only warns."""
    if subject.maps.shape[1] < 2:
        return not_checkable("there is one stream")
    if broken := [i for i, of_site in enumerate(subject.maps) if not of_site.isfinite().all()]:
        return Outcome(overall={}, per_site={}, findings=(_not_finite(subject.sites[broken[0]], len(broken)),))
    composite = prefixes(subject.maps)
    scale = composite.logs.exp()
    survival = (dobrushin(composite.matrices) * scale).mean(dim=1).tolist()
    singular = torch.linalg.svdvals(composite.matrices) * scale[..., None]
    second = singular[..., 1].mean(dim=1).tolist()
    exponents = lyapunov(subject.maps).tolist()
    gone = next((i for i, value in enumerate(survival) if value < limits["survives"]), None)
    half = survival[len(survival) // 2 - 1] if len(survival) > 1 else survival[0]
    findings = []
    if half < limits["half_depth_warn"]:
        where = f"; under {limits['survives']:.0%} from {subject.sites[gone]} on" if gone is not None else ""
        findings.append(
            Finding(
                severity=Severity.WARN,
                what=f"half-way {half:.2g} of a difference survives (< {limits['half_depth_warn']:g}){where}",
                site="" if gone is None else subject.sites[gone],
                sites=0,
                advice="the streams act as one: capacity unused (not shown to harm); mixers closer to identity keep it",
            )
        )
    return Outcome(
        overall={
            "dobrushin": survival[-1],
            "second_singular": second[-1],
            "half_depth": half,
            "depth_to_1_percent": float(len(survival) + 1 if gone is None else gone + 1),
            **{f"lyapunov_{k + 1}": value for k, value in enumerate(exponents)},
        },
        per_site={"dobrushin": tuple(survival), "second_singular": tuple(second)},
        findings=tuple(findings),
    )


CHECK = HealthCheck(
    name="collapse",
    formula=(
        "Dobrushin coefficient max_ik 1/2 sum_j |P_ij - P_kj| and second singular value of P(1,l), token means; depth "
        "at which 1 % survives; Lyapunov exponents (1/L) sum ln |R_kk|"
    ),
    source="arXiv 2606.03483 (stream collapse), 2609.02672 (oHC); products of positive stochastic matrices",
    basis=Basis.HEURISTIC,
    thresholds={
        # A warning and no failure: mHC trains well while its composite collapses (second singular value 0.037 in
        # arXiv 2512.24880, Figure 8). At half the depth, since the end is flat in every product of stochastic matrices.
        "half_depth_warn": 0.1,
        # What "depth to 1 %" means.
        "survives": 0.01,
    },
    run=_run,
)
