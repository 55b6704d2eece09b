"""What a scan of all weights means for a verdict: of `mhcdiag weights` itself, and of a check.

NaN or infinity in any weight fails, whatever the policy says; anything else that was found is a warning. A scan that
looked at nothing, or that could not read a tensor, is no pass.
"""

from collections.abc import Sequence

from mhcdiag.policies.policy import PolicyGate
from mhcdiag.results.check import GateOutcome, GateSeverity, ValuePlace
from mhcdiag.results.health import SEVERITIES, Severity
from mhcdiag.results.judged import JudgedWeights
from mhcdiag.results.verdict import Limit, Relation, Verdict, judged
from mhcdiag.results.weights import WeightsFinding, WeightsResult
from mhcdiag.results.wording import counted

FINITE = "finite weights"
LIKE_OTHERS = "weights like those of other layers"
SCANNED = "weights scanned"
"""Names of the gates that every checkpoint of a check has."""


def judge_weights(result: WeightsResult, *, fail_on: Severity = Severity.FAIL, strict: bool = False) -> JudgedWeights:
    """Fail on any finding of this severity or a worse one.

    Tensors that could not be read, and a scan of nothing, leave an otherwise passing checkpoint unjudged. Under
    `strict` so does anything that was left out or allowed.
    """
    failing = SEVERITIES[SEVERITIES.index(fail_on) :]
    findings = [one for one in result.findings if one.severity in failing]
    doubt = _doubt(result, strict=strict)
    verdict = judged([Limit.on("findings", float(len(findings)), 0.0)], doubt=doubt)
    reason = "" if verdict is Verdict.PASS else doubt
    if verdict is Verdict.FAIL:
        reason = f"{findings[0].what}{_more(findings)}"
    return JudgedWeights(result=result, verdict=verdict, reason=reason)


def _doubt(result: WeightsResult, *, strict: bool) -> str:
    if result.unscanned:
        return f"nothing was scanned: {result.unscanned}"
    if result.skipped:
        return could_not_be_read(result)
    if not result.elements_scanned:
        return f"nothing was scanned: {counted(result.tensors, 'tensor')} without a value"
    return f"--strict, and {missing}" if strict and (missing := _left_out(result)) else ""


def _left_out(result: WeightsResult) -> str:
    """What a scan that read all it was asked to does not speak of."""
    if not result.is_complete:
        return f"only {result.elements_scanned:,} of {result.elements:,} values were looked at"
    if result.unread:
        return f"not looked at: {result.unread[0]}"
    return f"{counted(len(result.allowed), 'finding')} of --allow" if result.allowed else ""


def _more(findings: Sequence[WeightsFinding]) -> str:
    return f" (and {counted(len(findings) - 1, 'finding')} more)" if len(findings) > 1 else ""


def weights_outcomes(weights: WeightsResult | None, gates: Sequence[PolicyGate]) -> list[GateOutcome]:
    """What every checkpoint of a check is judged by beside the policy's gates; nothing where all is well.

    Parameters
    ----------
    weights
        Of the checkpoint; None where there is no scan, not even the reason why.
    gates
        Of the policy, on this checkpoint: one of its own on the same number takes the place of ours.
    """
    if weights is None:
        return []
    own = {gate.metric for gate in gates}
    found = []
    for gate, metric, severity, findings in (
        (FINITE, "weights.nonfinite", GateSeverity.ERROR, weights.nonfinite),
        (LIKE_OTHERS, "weights.warned", GateSeverity.WARNING, tuple(weights.of(Severity.WARN))),
    ):
        if findings and metric not in own:
            first = findings[0]
            what = first.what.partition(": ")[2] + _more(findings)
            found.append(_outcome(weights, gate, metric, severity, what, findings))
    unread = ""
    if weights.unscanned:
        unread = f"{weights.not_scanned}: {weights.unscanned}"
    elif weights.skipped:
        unread = could_not_be_read(weights)
    if unread:
        found.append(_outcome(weights, SCANNED, "weights.scanned", GateSeverity.WARNING, unread))
    return found


def could_not_be_read(weights: WeightsResult) -> str:
    """How many tensors could not be read, and why the first could not."""
    first = weights.skipped[0]
    return f"{counted(len(weights.skipped), 'tensor')} could not be read: {first.what}: {first.reason}"


def _outcome(
    weights: WeightsResult,
    gate: str,
    metric: str,
    severity: GateSeverity,
    what: str,
    findings: Sequence[WeightsFinding] = (),
) -> GateOutcome:
    """A gate that failed by its findings, or could not be judged without any."""
    return GateOutcome(
        gate=gate,
        metric=metric,
        series=None,
        path=weights.path,
        verdict=Verdict.FAIL if findings else Verdict.UNJUDGED,
        severity=severity,
        value=float(len(findings)) if findings else None,
        relation=Relation.AT_MOST if findings else Relation.AT_LEAST,
        limit=0.0 if findings else None,
        baseline=None,
        finding=what,
        reason="",
        place=ValuePlace(text=findings[0].tensor) if findings else None,
    )
