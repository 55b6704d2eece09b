"""Does a running implementation do what the layout says? From captured activations only; weights cannot tell."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from mhcdiag.health_checks.explained import explain, written
from mhcdiag.health_checks.interface import Outcome, Subject, largest, not_checkable
from mhcdiag.results.gain import Direction
from mhcdiag.results.health import Basis, Finding, Severity
from mhcdiag.weight_readers.records import SiteActivations

NAME = "conformance"
FORMULA = (
    "|x_out - post branch - H x| / |x| against the same with H^T, with I, with post/2 and with 2 post; which sums of H "
    "are 1; H from the weights and x_in against x_out (or the captured H), by the layout and with slices in another "
    "order, other iterations, another eps"
)
SOURCE = "Megatron-LM #4957, transformers #46172, lucidrains/hyper-connections #8, tokenbender #3, marin #2321"
BASIS = Basis.MEASURED
THRESHOLDS = {"error": 0.02, "exact": 1e-3, "differs": 1e-4, "unexplained": 0.05}

MEANINGS = {
    "transposed": ("H is applied transposed", "swap the axes in the einsum: DeepSeek contracts comb's first index"),
    "not mixed": ("the streams are never mixed: x_out = x_in + post branch", "use the result of the mixing"),
    "post halved": ("post is half of what is applied", "capture (or apply) 2 sigmoid, not sigmoid"),
    "post doubled": ("post is twice what is applied", "capture (or apply) sigmoid once"),
}


def run(subject: Subject, limits: Mapping[str, float]) -> Outcome:
    """See `Check`."""
    told = [(i, site) for i, site in enumerate(subject.activations) if site.x_out is not None]
    if not told:
        return not_checkable("not checkable from weights: capture x_in and x_out of a running model (--captured)")
    errors = {name: [_errors(site)[name] for _, site in told] for name in ("as it is", *MEANINGS)}
    findings = []
    best = {name: largest(values) for name, values in errors.items()}
    explained = explain(subject)
    conforms = best["as it is"] <= limits["error"]
    other = [] if explained is None else explained.finding(subject, limits, conforms=conforms)
    if not best["as it is"] <= limits["error"]:
        meaning = min(MEANINGS, key=lambda name: best[name])
        fits = best[meaning] <= limits["error"]
        what, advice = MEANINGS[meaning] if fits else ("x_out follows neither H x nor H^T x", "compare site by site")
        if fits or not other:
            findings.append(
                Finding(
                    severity=Severity.FAIL,
                    what=f"{what} (x_out is off by {best['as it is']:.2g} of |x|, > {limits['error']:g})",
                    site=subject.sites[told[0][0]],
                    sites=len(told),
                    advice=advice,
                )
            )
    findings += [] if findings else other
    findings += _wrong_axis(subject, limits["exact"])
    return Outcome(
        overall=best | ({} if explained is None else {"from weights": explained.own, "other reading": explained.best}),
        per_site={name: tuple(values) for name, values in errors.items()} if len(told) == len(subject.sites) else {},
        findings=tuple(findings),
    )


def _errors(site: SiteActivations) -> dict[str, float]:
    assert site.x_out is not None
    maps, x = site.h_res.double(), site.x_in.double()
    added = written(site)
    after = site.x_out.double()
    size = x.square().mean().sqrt().clamp(min=1e-300)

    def error(left: Float[Tensor, "token stream width"]) -> float:
        return float((after - left).square().mean().sqrt() / size)

    mixed = maps @ x
    return {
        "as it is": error(mixed + added),
        "transposed": error(maps.mT @ x + added),
        "not mixed": error(x + added),
        "post halved": error(mixed + 2 * added),
        "post doubled": error(mixed + added / 2),
    }


def _wrong_axis(subject: Subject, tolerance: float) -> list[Finding]:
    if len(subject.exact) != 1:
        return []
    (expected,) = subject.exact
    off = {}
    for direction, axis in ((Direction.FORWARD, -1), (Direction.BACKWARD, -2)):
        sums = torch.cat([(site.h_res.double().sum(dim=axis) - 1).abs().flatten() for site in subject.activations])
        off[direction] = float(sums.max())
    other = Direction.BACKWARD if expected is Direction.FORWARD else Direction.FORWARD
    if not (off[expected] > tolerance >= off[other]):
        return []
    what = f"the captured H has exact {other} sums, the layout says {expected} ones (off by {off[expected]:.2g})"
    advice = "H was captured or applied transposed"
    return [Finding(severity=Severity.FAIL, what=what, site="", sites=len(subject.activations), advice=advice)]
