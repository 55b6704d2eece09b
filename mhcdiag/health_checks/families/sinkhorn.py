"""Whether the finite Sinkhorn iteration converged, and whether its logits can still learn."""

from collections.abc import Mapping
from math import inf, log

from mhcdiag.health_checks.interface import HealthCheck, Outcome, Subject, above, model_above, not_checkable, prefixes
from mhcdiag.kernels.sinkhorn.interface import Guard
from mhcdiag.mappings.constraints import SoftmaxSinkhorn
from mhcdiag.measures.convergence import Needed, iterations_needed
from mhcdiag.results.bands import EXPLODED_GAIN, LEVELS
from mhcdiag.results.gain import Direction
from mhcdiag.results.health import Basis, Severity

NORMAL, WATCH, _ = LEVELS
_TOKENS = 64
"""Tokens whose logits are drawn for their range."""


def _run(subject: Subject, limits: Mapping[str, float]) -> Outcome:
    """The side that is normalised last has sums of 1; the residual is that of the other one."""
    if len(subject.exact) != 1:
        return not_checkable("no Sinkhorn iteration ends on one side here")
    (exact,) = subject.exact
    axis = 1 if exact is Direction.FORWARD else 2
    residual = (subject.maps.sum(dim=axis) - 1).abs().amax(dim=1).mean(dim=-1).tolist()
    composite = prefixes(subject.maps)
    sums = composite.matrices[-1].sum(dim=-2 if exact is Direction.FORWARD else -1)
    log_sum = (sums.abs().log() + composite.logs[-1][:, None]).abs().amax(dim=-1).mean().item()
    needed = _needed(subject, exact, limits["tolerance"])
    findings = above(
        subject.sites, residual,
        {severity: limits[f"residual_{severity}"] for severity in Severity},
        what=f"{_other(exact)} sums are off by {{value}} (> {{limit}}){_in_words(needed, limits['tolerance'])}",
        advice="more iterations, or logits of a smaller range",
    )  # fmt: skip
    findings += model_above(
        log_sum, {severity: limits[f"log_sum_{severity}"] for severity in Severity},
        what="over the whole model a sum is off by a factor e^{value} (> e^{limit})",
        advice="errors of the same sign add up over depth: more iterations",
    )  # fmt: skip
    ranges = _ranges(subject)
    if ranges:
        findings += above(
            subject.sites, ranges,
            {severity: limits[f"range_{severity}"] for severity in Severity},
            what="logit range {value} (> {limit}): gradients shrink by e^-range (10: slow, 20: frozen, 87: underflow)",
            advice="a higher temperature, or initial logits closer together",
        )  # fmt: skip
    per_site = {"residual": tuple(residual)}
    if needed is not None:
        per_site |= {"iterations_needed": needed.mean, "iterations_every_token": needed.every_token}
    return Outcome(
        overall={"log_sum": log_sum},
        per_site=per_site | ({"logit_range": tuple(ranges)} if ranges else {}),
        findings=tuple(findings),
    )


def _needed(subject: Subject, exact: Direction, tolerance: float) -> Needed | None:
    """None where H_res is no matrix that an iteration left: a mean of several, or one blended with another."""
    sums = 2 if exact is Direction.FORWARD else 1
    if subject.parameters is None:
        return iterations_needed(subject.maps, exact=sums, tolerance=tolerance)
    recipe = subject.parameters.recipe
    made = getattr(recipe.constraint, "iterations", None)
    if made is None or recipe.proposals > 1 or subject.parameters.blend is not None:
        return None
    added = isinstance(recipe.constraint, SoftmaxSinkhorn)
    return iterations_needed(
        subject.maps,
        exact=sums,
        tolerance=tolerance,
        made=made,
        eps=getattr(recipe.constraint, "eps", 0.0),
        guard=Guard.ADDED if added else getattr(recipe.constraint, "guard", Guard.FLOOR),
    )


def _in_words(needed: Needed | None, tolerance: float) -> str:
    """How many iterations do, on these tokens; nothing where that is not known or none are missing."""
    if needed is None or max(needed.mean) <= needed.made:
        return ""
    more = "" if needed.made else "more "
    mean, every = (
        f"{max(counts):.0f}" if max(counts) < inf else f"more than {needed.most}"
        for counts in (needed.mean, needed.every_token)
    )
    return f"; {mean} {more}iterations bring the mean over these tokens to {tolerance:g}, {every} each of them"


def _ranges(subject: Subject) -> list[float]:
    """Range of the logits by site, token mean; empty where H_res does not come from a matrix of them.

    With the input-dependent part, where it was read: the static one alone may be narrow where every token's is wide.
    """
    parameters = subject.parameters
    if parameters is None or parameters.base.shape[-2] == 1:
        return []
    widest = getattr(parameters.recipe.constraint, "limit", inf)
    if parameters.factors is None:
        logits = [each[None, ..., None] for each in parameters.base]
    else:
        tokens = min(subject.maps.shape[-1], _TOKENS)
        drawn = parameters.random(tokens=tokens, seed=0)
        logits = [drawn.logits(site, 0, tokens) for site in range(len(subject.sites))]
    found = []
    for of_site in logits:
        cut = (of_site.double() / subject.temperature).clamp(-widest, widest)
        # Of several proposals each is constrained on its own: the widest one learns least.
        found.append(float((cut.amax(dim=(1, 2)) - cut.amin(dim=(1, 2))).amax(dim=0).mean()))
    return found


def _other(exact: Direction) -> str:
    return "column" if exact is Direction.FORWARD else "row"


CHECK = HealthCheck(
    name="sinkhorn",
    formula=(
        "residual max |sum - 1| of the side not normalised last, token mean; max |ln sum| of the composite; "
        "iterations until the residual is 0.001, by iterating on, in the mean over tokens and for every token; logit "
        "range R = max - min with the input-dependent part, token mean, gradient about e^-R"
    ),
    source="mHC-lite, arXiv 2601.05732, and KromHC, 2601.21579; logits that cannot learn: tokenbender/mHC issue 2",
    basis=Basis.MEASURED,
    thresholds={
        # Of 20 iterations on random 4 x 4 logits of range 14, the median leaves 0.003 and one in a hundred 0.044;
        # KromHC (arXiv 2601.21579) reports 0.05 as the mean over columns of the product of 24 layers. The worst site
        # that mHC-lite reports of models that trained is off by 0.92: at 1 a stream is lost, or counts twice.
        "residual_note": 1e-3,
        "residual_warn": 0.05,
        "residual_fail": 1.0,
        # The bands of the gain, for sums below 1 as for those above: of what the paper calls stable, a column of 31
        # layers is at 0.41, which is 0.89 here, and a factor of 2.4.
        "log_sum_note": log(NORMAL),
        "log_sum_warn": log(WATCH),
        "log_sum_fail": log(EXPLODED_GAIN),
        # Gradients die as e^-range, long before exp() underflows in float32, at 87. The start that froze mixers
        # (temperature 0.05, logits of -8) has range 160.
        "range_note": 10.0,
        "range_warn": 20.0,
        "range_fail": 87.0,
        # What `iterations_needed` counts up to: the residual that is no warning.
        "tolerance": 1e-3,
    },
    run=_run,
)
