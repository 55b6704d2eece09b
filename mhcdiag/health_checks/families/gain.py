"""The gain itself: the number, the bands and the evidence of `mhcdiag gain`, so that both commands say the same."""

from collections.abc import Mapping

from mhcdiag.health_checks.interface import HealthCheck, Outcome, Subject, not_checkable
from mhcdiag.results.bands import BROKEN, EXPLODED_GAIN, LEVELS, band_of, reading_of
from mhcdiag.results.evidence import evidence_of, qualification, remedy, weakest
from mhcdiag.results.gain import Definition, Direction, GainResult
from mhcdiag.results.health import SEVERITIES, Basis, Finding, Severity
from mhcdiag.results.numbers import Number, text, within
from mhcdiag.results.verdict import Limit

NOTE, WARN, _ = LEVELS


def _run(subject: Subject, limits: Mapping[str, float]) -> Outcome:
    """Each direction by itself, and what both rest on."""
    if subject.no_composite:
        # `mhcdiag gain` leaves such a model unjudged: a pass of the other checks must say that it is none of the gain.
        return Outcome(
            overall={},
            per_site={},
            not_checkable=subject.no_composite,
            qualification="of the other checks only: the gain was not judged",
        )
    if subject.gain is None:
        return not_checkable("no gain was measured")
    result = subject.gain()
    if not result.composes:
        return not_checkable("the streams end within each layer: there is no composite")
    judged = [_limit(result, direction, limits["fail"]) for direction in Direction]
    evidence = weakest(limit.evidence for limit in judged)
    broken = result.nonfinite[:1]
    count = len(result.nonfinite)
    findings = [
        Finding(severity=Severity.FAIL, what=each.found, site=each.site, sites=count, advice=BROKEN.advice)
        for each in broken
    ]
    findings += [found for direction in Direction for found in _findings(result, direction, limits)]
    sampled = qualification(result, judged) if all(limit.passed for limit in judged) else ""
    if sampled:
        what, advice = sampled.removesuffix(f"; {remedy(result)}"), remedy(result)
        findings.append(Finding(severity=Severity.WARN, what=what, site="", sites=0, advice=advice))
    findings.sort(key=lambda found: SEVERITIES.index(found.severity), reverse=True)
    overall = {str(direction): float(_worst(result, direction)) for direction in Direction}
    return Outcome(overall=overall, per_site={}, findings=tuple(findings), evidence=evidence, qualification=sampled)


def _findings(result: GainResult, direction: Direction, limits: Mapping[str, float]) -> list[Finding]:
    """What the worst gain of one direction is above."""
    value, span = _worst(result, direction), result.worst[direction, Definition.NORM]
    for severity in (Severity.FAIL, Severity.WARN, Severity.NOTE):
        limit = limits[str(severity)]
        if not within(value, limit):  # so written, NaN is above every limit
            band = reading_of(result, direction)
            what = (
                f"worst {direction} gain {text(value)} (> {limit:g}), {span.from_site} to {span.to_site}: {band.word}"
            )
            return [Finding(severity=severity, what=what, site="", sites=0, advice=band_of(value).advice)]
    return []


def _worst(result: GainResult, direction: Direction) -> Number:
    return result.worst[direction, Definition.NORM].value


def _limit(result: GainResult, direction: Direction, most: float) -> Limit:
    value, bound = _worst(result, direction), result.bound[direction].worst
    return Limit(
        metric=f"worst.{direction}.norm",
        value=value,
        limit=most,
        passed=within(value, most),
        evidence=evidence_of(result, most, bound),
        bound=bound,
    )


CHECK = HealthCheck(
    name="gain",
    formula=(
        "largest token mean over all P(a,b) = H_b ... H_a of the largest row (forward) or column (backward) sum of "
        "absolute values, as `mhcdiag gain` measures it; what no input can exceed, of the same number"
    ),
    source="arXiv 2512.24880, section 3.1; docs/evidence.md for what a pass rests on",
    basis=Basis.MEASURED,
    thresholds={
        # The upper ends of the bands `normal`, `watch` and `warn` of `mhcdiag gain`.
        "note": NOTE,
        "warn": WARN,
        "fail": EXPLODED_GAIN,
    },
    run=_run,
)
