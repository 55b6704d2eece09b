"""Whether a model that says DeepNorm has DeepNorm's factors."""

from collections.abc import Mapping
from math import log

from mhcdiag.health_checks.interface import TINY, HealthCheck, Outcome, Subject, model_finding, not_checkable
from mhcdiag.results.health import Basis, Severity


def _run(subject: Subject, limits: Mapping[str, float]) -> Outcome:
    """Alpha as the configuration states it, the gain of writers as the weights show it."""
    if subject.plain is None:
        return not_checkable("read for models with one residual stream only")
    scales = subject.plain.deepnorm()
    if scales is None:
        return not_checkable("the configuration says no DeepNorm")
    alpha, beta = (2 * scales.layers) ** 0.25, (8 * scales.layers) ** -0.25
    overall = {"alpha_expected": alpha, "beta_expected": beta}
    findings = []
    if scales.alpha is not None:
        overall["alpha"] = scales.alpha
        if abs(scales.alpha / alpha - 1) > limits["alpha"]:
            what = f"alpha is {scales.alpha:.4g}, (2N)^1/4 = {alpha:.4g} for N = {scales.layers} blocks"
            findings.append(
                model_finding(Severity.WARN, what, "set alpha by the depth: a smaller one lets updates grow with it")
            )
    if scales.gain is not None:
        overall["gain"] = scales.gain
        if abs(log(max(scales.gain, TINY) / beta)) > log(limits["gain_factor"]):
            what = f"writers have {scales.gain:.3g} times the gain of queries and keys, (8N)^-1/4 = {beta:.3g}"
            findings.append(
                model_finding(Severity.WARN, what, "start output and feed-forward projections with the gain beta")
            )
    return Outcome(overall=overall, per_site={}, findings=tuple(findings))


CHECK = HealthCheck(
    name="deepnorm",
    formula=(
        "alpha = (2N)^1/4 on the residual stream of a decoder of N blocks, against the configuration's; gain of "
        "writers, sd sqrt(fan in + fan out) over that of queries and keys, against beta = (8N)^-1/4"
    ),
    source="DeepNet, arXiv 2203.00555, for decoders alone",
    basis=Basis.HEURISTIC,
    thresholds={
        # alpha is set once and not trained: rounding of a configuration is all that may be off.
        "alpha": 0.05,
        # Training moves the gain of writers, so that a factor is allowed in either direction.
        "gain_factor": 2.0,
    },
    run=_run,
)
