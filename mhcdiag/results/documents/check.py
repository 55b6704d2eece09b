"""The outcome of a check as a JSON document, which is also what a baseline is, and back."""

from mhcdiag.results.check import (
    AllowedEvent,
    CheckedInput,
    CheckReport,
    Family,
    GateOutcome,
    GateSeverity,
    ValuePlace,
)
from mhcdiag.results.documents import (
    Json,
    read_count,
    read_flag,
    read_float,
    read_list,
    read_number,
    read_step,
    read_table,
    read_text,
)
from mhcdiag.results.documents.gain import gain_document, gain_of
from mhcdiag.results.documents.health import health_document, health_of
from mhcdiag.results.documents.spikes import spikes_document, spikes_of
from mhcdiag.results.documents.weights import weights_document, weights_of
from mhcdiag.results.gain import GainResult
from mhcdiag.results.numbers import number, step
from mhcdiag.results.spikes import LogResult
from mhcdiag.results.verdict import GainEvidence, Relation, Verdict

FORMAT_VERSION = 1

# Writing


def check_document(report: CheckReport) -> Json:
    """Return the whole report: verdict first, then gates, then every measurement."""
    decided = report.decided_by
    return {
        "format_version": FORMAT_VERSION,
        "command": "check",
        "version": report.version,
        "created": report.created,
        "verdict": str(report.verdict),
        "exit_code": report.exit_code,
        "evidence": None if report.evidence is None else str(report.evidence),
        "decided_by": None if decided is None else _outcome(decided),
        "policy": report.policy,
        "baseline": report.baseline,
        "strict": report.strict,
        "outcomes": [_outcome(outcome) for outcome in report.outcomes],
        "allowed": [_allowed(event) for event in report.allowed],
        "results": [_input(checked) for checked in report.inputs],
    }


def _outcome(outcome: GateOutcome) -> Json:
    place = outcome.place
    return {
        "gate": outcome.gate,
        "metric": outcome.metric,
        "series": outcome.series,
        "path": outcome.path,
        "verdict": str(outcome.verdict),
        "severity": str(outcome.severity),
        "value": number(outcome.value),
        "relation": str(outcome.relation),
        "limit": number(outcome.limit),
        "baseline": number(outcome.baseline),
        "finding": outcome.finding,
        "reason": outcome.reason,
        "place": None if place is None else {"text": place.text, "line": place.line},
        "evidence": None if outcome.evidence is None else str(outcome.evidence),
        "bound": number(outcome.bound),
    }


def _allowed(event: AllowedEvent) -> Json:
    return {
        "path": event.path,
        "series": event.series,
        "kind": event.kind,
        "step": step(event.step),
        "line": event.line,
        "reason": event.reason,
    }


def _input(checked: CheckedInput) -> Json:
    found = checked.result
    return {
        "path": checked.path,
        "family": str(checked.family),
        "verdict": str(checked.verdict),
        "error": checked.error,
        "sha256": checked.sha256,
        "gain": gain_document(found) if isinstance(found, GainResult) else None,
        "spikes": spikes_document(found) if isinstance(found, LogResult) else None,
        "health": None if checked.health is None else health_document(checked.health),
        "weights": None if checked.weights is None else weights_document(checked.weights),
    }


# Reading


def check_of(document: Json) -> CheckReport:
    """Return the report that a document was made of; curves for drawing, which it lacks, are empty.

    Raises
    ------
    KeyError, TypeError, ValueError
        A part is missing or is not what was written.
    """
    baseline = document["baseline"]
    return CheckReport(
        verdict=Verdict(document["verdict"]),
        exit_code=read_count(document["exit_code"]),
        outcomes=tuple(_outcome_of(one) for one in read_list(document["outcomes"])),
        inputs=inputs_of(document),
        allowed=tuple(_allowed_of(one) for one in read_list(document["allowed"])),
        policy=read_text(document["policy"]),
        baseline=None if baseline is None else read_text(baseline),
        strict=read_flag(document["strict"]),
        version=read_text(document["version"]),
        created=read_text(document["created"]),
    )


def inputs_of(document: Json) -> tuple[CheckedInput, ...]:
    """Return the inputs of a report with their measurements: all that a baseline is read for.

    Raises
    ------
    KeyError, TypeError, ValueError
        A part is missing or is not what was written.
    """
    return tuple(_input_of(one) for one in read_list(document["results"]))


def _input_of(document: object) -> CheckedInput:
    checked = read_table(document)
    path = read_text(checked["path"])
    gain, spikes = checked["gain"], checked["spikes"]
    result: GainResult | LogResult | None = None
    if gain is not None:
        result = gain_of(read_table(gain))
    elif spikes is not None:
        result = spikes_of(read_table(spikes))
    # The key came with the gates on health: reports before have none.
    health = checked.get("health")
    weights = checked.get("weights")  # and this one with the scan of all weights
    return CheckedInput(
        path=path,
        family=Family(checked["family"]),
        verdict=Verdict(checked["verdict"]),
        result=result,
        error=read_text(checked["error"]),
        sha256=read_text(checked["sha256"]),
        health=None if health is None else health_of(health),
        weights=None if weights is None else weights_of(weights),
    )


def _outcome_of(document: object) -> GateOutcome:
    outcome = read_table(document)
    series, place = outcome["series"], outcome["place"]
    value, limit, baseline = outcome["value"], outcome["limit"], outcome["baseline"]
    evidence, bound = outcome.get("evidence"), outcome.get("bound")
    return GateOutcome(
        gate=read_text(outcome["gate"]),
        metric=read_text(outcome["metric"]),
        series=None if series is None else read_text(series),
        path=read_text(outcome["path"]),
        verdict=Verdict(outcome["verdict"]),
        severity=GateSeverity(outcome["severity"]),
        value=None if value is None else read_number(value),
        relation=Relation(outcome["relation"]),
        limit=None if limit is None else read_float(limit),
        baseline=None if baseline is None else read_number(baseline),
        finding=read_text(outcome["finding"]),
        reason=read_text(outcome["reason"]),
        place=None if place is None else _place_of(place),
        # Reports of before say nothing of evidence.
        evidence=None if evidence is None else GainEvidence(evidence),
        bound=None if bound is None else read_number(bound),
    )


def _place_of(document: object) -> ValuePlace:
    place = read_table(document)
    line = place["line"]
    return ValuePlace(text=read_text(place["text"]), line=None if line is None else read_count(line))


def _allowed_of(document: object) -> AllowedEvent:
    event = read_table(document)
    return AllowedEvent(
        path=read_text(event["path"]),
        series=read_text(event["series"]),
        kind=read_text(event["kind"]),
        step=read_step(event["step"]),
        line=read_count(event["line"]),
        reason=read_text(event["reason"]),
    )
