"""The outcome of a check as a JSON document; also what a baseline is."""

from typing import Any

from mhcdiag.results.check import AllowedEvent, CheckedInput, CheckReport, GateOutcome
from mhcdiag.results.documents.gain import gain_document
from mhcdiag.results.documents.health import health_document
from mhcdiag.results.documents.spikes import spikes_document
from mhcdiag.results.gain import GainResult
from mhcdiag.results.numbers import number, step
from mhcdiag.results.spikes import LogResult

FORMAT_VERSION = 1

Json = dict[str, Any]


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
    }
