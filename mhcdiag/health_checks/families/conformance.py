"""Does a running implementation do what the layout says? From captured activations only; weights cannot tell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mhcdiag.health_checks.interface import TINY, HealthCheck, Outcome, Subject, largest, not_checkable
from mhcdiag.results.gain import Direction
from mhcdiag.results.health import Basis, Finding, Severity
from mhcdiag.weight_readers.records import Prediction, SiteActivations

AS_IT_IS = "as it is"
"""x_out follows H x plus post times branch, as captured."""

DEFECTS = {
    # Megatron-LM #4957: DeepSeek's code contracts the first index of comb.
    "transposed": ("H is applied transposed", "swap the axes in the einsum: DeepSeek contracts comb's first index"),
    # lucidrains/hyper-connections #8, tokenbender #3: what mixing returned was dropped.
    "not mixed": ("the streams are never mixed: x_out = x_in + post branch", "use the result of the mixing"),
    # marin #2321: mHC's equation 8 has 2 sigmoid(.), several ports had sigmoid(.).
    "post halved": ("post is half of what is applied", "capture (or apply) 2 sigmoid, not sigmoid"),
    "post doubled": ("post is twice what is applied", "capture (or apply) sigmoid once"),
}
"""What else x_out may follow: what that means, and what to do."""

CLEARLY_BETTER = 10.0
"""How many times smaller the error of another reading must be to be named: 20 and 40 iterations that have converged
differ by rounding alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadingErrors:
    """How far readings of the weights are from what was captured; each error is the largest over sites."""

    own: float
    """Of the layout's own reading, as a share of |x|."""
    best: float
    """Of the best other one."""
    best_name: str
    """Which that is."""


def compare_readings(subject: Subject) -> ReadingErrors | None:
    """Hold all readings of the weights against captured streams; None where the layout makes no prediction."""
    predictions = {} if subject.predict is None else subject.predict()
    if not predictions:
        return None
    (_, own), *others = [(name, _reading_error(subject.activations, each)) for name, each in predictions.items()]
    name, best = min(others, key=lambda each: each[1], default=("", float("inf")))
    return ReadingErrors(own=own, best=best, best_name=name)


def reading_findings(
    errors: ReadingErrors, subject: Subject, limits: Mapping[str, float], *, conforms: bool
) -> list[Finding]:
    """What to say of the layout's own reading, at most one finding.

    Parameters
    ----------
    errors
        Those of this subject.
    subject, limits
        As for the check.
    conforms
        Whether x_out follows the captured H, so that only the weights are in question.
    """
    if errors.own <= limits["differs"]:
        return []
    size = f"off by {errors.own:.2g} of |x|"
    if errors.best * CLEARLY_BETTER <= errors.own:
        what = f"the running model follows {errors.best_name} ({errors.best:.2g}) rather than the layout ({size})"
        severity = Severity.FAIL if errors.own > limits["error"] else Severity.WARN
        advice = "make the implementation agree with the checkpoint, or say so by --layout or --sinkhorn-iters"
    elif conforms and errors.own > limits["unexplained"]:
        what = f"the captured H is not what these weights give by this layout ({size})"
        severity, advice = Severity.WARN, "captured from this very checkpoint? compare site by site"
    else:
        return []
    return [Finding(severity=severity, what=what, site=subject.sites[0], sites=len(subject.sites), advice=advice)]


def _run(subject: Subject, limits: Mapping[str, float]) -> Outcome:
    """What was applied against the captured H, then the captured H against the weights."""
    complete = [(i, site) for i, site in enumerate(subject.activations) if site.x_out is not None]
    if not complete:
        return not_checkable("not checkable from weights: capture x_in and x_out of a running model (--captured)")
    by_site = [_errors(site) for _, site in complete]
    errors = {name: [each[name] for each in by_site] for name in (AS_IT_IS, *DEFECTS)}
    worst = {name: largest(values) for name, values in errors.items()}
    readings = compare_readings(subject)
    conforms = worst[AS_IT_IS] <= limits["error"]
    of_readings = [] if readings is None else reading_findings(readings, subject, limits, conforms=conforms)
    findings = []
    if not conforms:
        defect = min(DEFECTS, key=lambda name: worst[name])
        fits = worst[defect] <= limits["error"]
        what, advice = DEFECTS[defect] if fits else ("x_out follows neither H x nor H^T x", "compare site by site")
        # A reading that explains x_out says more than "neither".
        if fits or not of_readings:
            findings.append(
                Finding(
                    severity=Severity.FAIL,
                    what=f"{what} (x_out is off by {worst[AS_IT_IS]:.2g} of |x|, > {limits['error']:g})",
                    site=subject.sites[complete[0][0]],
                    sites=len(complete),
                    advice=advice,
                )
            )
    findings += [] if findings else of_readings
    findings += _wrong_axis(subject, limits["exact"])
    from_weights = {} if readings is None else {"from weights": readings.own, "other reading": readings.best}
    per_site = {name: tuple(values) for name, values in errors.items()}
    return Outcome(
        overall=worst | from_weights,
        per_site=per_site if len(complete) == len(subject.sites) else {},
        findings=tuple(findings),
    )


def _errors(site: SiteActivations) -> dict[str, float]:
    """RMS of x_out less what it should be, over that of x_in: as captured, and with each defect."""
    assert site.x_out is not None
    maps, x = site.h_res.double(), site.x_in.double()
    added = _written(site)
    after = site.x_out.double()
    size = x.square().mean().sqrt().clamp(min=TINY)

    def error(expected: Float[Tensor, "token stream width"]) -> float:
        return float((after - expected).square().mean().sqrt() / size)

    mixed = maps @ x
    return {
        AS_IT_IS: error(mixed + added),
        "transposed": error(maps.mT @ x + added),
        "not mixed": error(x + added),
        "post halved": error(mixed + 2 * added),
        "post doubled": error(mixed + added / 2),
    }


def _written(site: SiteActivations) -> Float[Tensor, "token stream width"]:
    """Post times branch; zero where they were not captured."""
    if site.branch is None or site.post is None:
        return torch.zeros_like(site.x_in, dtype=torch.float64)
    return site.post.double()[..., None] * site.branch.double()[:, None, :]


def _reading_error(sites: Sequence[SiteActivations], prediction: Prediction) -> float:
    """The largest error of predicted streams and post weights over sites."""
    errors = []
    for site, maps, post in zip(sites, prediction.h_res, prediction.post, strict=True):
        x = site.x_in.double()
        size = x.square().mean().sqrt().clamp(min=TINY)
        errors.append(float((maps.double() @ x - _mixed(site)).square().mean().sqrt() / size))
        if post is not None and site.post is not None:
            applied = site.post.double()
            errors.append(float((post.double() - applied).norm() / applied.norm().clamp(min=TINY)))
    return max(errors)


def _mixed(site: SiteActivations) -> Float[Tensor, "token stream width"]:
    """What mixing made of the streams: x_out without what was written, or H x where x_out was not captured."""
    if site.x_out is None:
        return site.h_res.double() @ site.x_in.double()
    return site.x_out.double() - _written(site)


def _wrong_axis(subject: Subject, tolerance: float) -> list[Finding]:
    """Whether sums are 1 on the other side than the layout says; both sides are, near the limit of the iteration."""
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


CHECK = HealthCheck(
    name="conformance",
    formula=(
        "|x_out - post branch - H x| / |x| against the same with H^T, with I, with post/2 and with 2 post; which sums "
        "of H are 1; H from the weights and x_in against x_out (or the captured H), by the layout and with slices in "
        "another order, other iterations, another eps"
    ),
    source="Megatron-LM #4957, lucidrains/hyper-connections #8, tokenbender #3, marin #2321",
    basis=Basis.MEASURED,
    thresholds={
        # Captured bf16 streams alone leave 0.004 of rounding.
        "error": 0.02,
        # The exact side of 20 Sinkhorn iterations in float32 is within 1e-5; the other one is off by percents.
        "exact": 1e-3,
        # Below this the weights explain what was captured, and no other reading of them is worth a word.
        "differs": 1e-4,
        # A rule of thumb, above `error`: that the captured H is another one is the weakest of these claims.
        "unexplained": 0.05,
    },
    run=_run,
)
