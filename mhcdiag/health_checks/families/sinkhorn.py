"""Whether the finite Sinkhorn iteration converged, and whether its logits can still learn."""

from collections.abc import Mapping
from math import inf, log

import torch

from mhcdiag.health_checks.interface import HealthCheck, Outcome, Subject, above, model_above, not_checkable, prefixes
from mhcdiag.results.bands import EXPLODED_GAIN, LEVELS
from mhcdiag.results.gain import Direction
from mhcdiag.results.health import Basis, Severity

NORMAL, WATCH, _ = LEVELS


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
    needed = [_iterations(value, limits["tolerance"]) for value in _second_singular(subject.maps)]
    findings = above(
        subject.sites, residual,
        {severity: limits[f"residual_{severity}"] for severity in Severity},
        what=f"{_other(exact)} sums are off by {{value}} (> {{limit}}); {_worst(needed)}",
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
    per_site = {"residual": tuple(residual), "iterations_needed": tuple(needed)}
    return Outcome(
        overall={"log_sum": log_sum},
        per_site=per_site | ({"logit_range": tuple(ranges)} if ranges else {}),
        findings=tuple(findings),
    )


def _second_singular(maps: torch.Tensor) -> list[float]:
    # Of the mappings as they are: close to their limit wherever the prediction is of use.
    streams = maps.shape[1]
    if streams < 2:
        return [0.0] * maps.shape[0]
    values: list[float] = torch.linalg.svdvals(maps.permute(0, 3, 1, 2))[..., 1].amax(dim=1).tolist()
    return values


def _iterations(second: float, tolerance: float) -> float:
    """Iterations until the residual is the tolerance: each multiplies it by sigma2^2 of the limit (Knight 2008)."""
    if second <= 0:
        return 1.0
    return inf if second >= 1 else max(1.0, log(tolerance) / (2 * log(second)))


def _worst(needed: list[float]) -> str:
    finite = [value for value in needed if value < inf]
    if len(finite) < len(needed):
        return "no number of iterations can be predicted to do"
    return f"about {max(finite):.0f} iterations would do"


def _ranges(subject: Subject) -> list[float]:
    """Range of the static logits by site; empty where H_res does not come from a matrix of them."""
    parameters = subject.parameters
    if parameters is None or parameters.base.shape[-2] == 1:
        return []
    logits = parameters.base.double() / subject.temperature
    ranges: list[float] = (logits.amax(dim=(-2, -1)) - logits.amin(dim=(-2, -1))).tolist()
    return ranges


def _other(exact: Direction) -> str:
    return "column" if exact is Direction.FORWARD else "row"


CHECK = HealthCheck(
    name="sinkhorn",
    formula=(
        "residual max |sum - 1| of the side not normalised last, token mean; max |ln sum| of the composite; "
        "iterations for a tolerance = ln(tolerance) / (2 ln sigma2); logit range R = max - min, gradient about e^-R"
    ),
    source="Knight 2008 (SIAM J. Matrix Anal. 30:261) for the rate; mHC-lite, arXiv 2601.05732, and KromHC, 2601.21579",
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
        # What `iterations_needed` predicts for: the residual that is no warning.
        "tolerance": 1e-3,
    },
    run=_run,
)
