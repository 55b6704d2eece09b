"""The record of a health examination as a JSON document."""

from typing import Any

from mhcdiag.results.health import CheckResult, Finding, HealthResult
from mhcdiag.results.numbers import number

Json = dict[str, Any]


def health_document(result: HealthResult) -> Json:
    """Return the whole record."""
    return {
        "path": result.path,
        "layout": result.layout,
        "model": result.model,
        "streams": result.streams,
        "sites": list(result.sites),
        "inputs": result.inputs,
        "tokens": result.tokens,
        "against": result.against or None,
        "checks": [_check(check) for check in result.checks],
        "assumed": list(result.assumed),
        "notes": list(result.notes),
    }


def _check(check: CheckResult) -> Json:
    return {
        "name": check.name,
        "formula": check.formula,
        "source": check.source,
        "basis": str(check.basis),
        "thresholds": dict(check.thresholds),
        "overall": {name: number(value) for name, value in check.overall.items()},
        "per_site": {name: [number(value) for value in values] for name, values in check.per_site.items()},
        "findings": [_finding(finding) for finding in check.findings],
        "not_checkable": check.not_checkable or None,
    }


def _finding(finding: Finding) -> Json:
    return {
        "severity": str(finding.severity),
        "what": finding.what,
        "site": finding.site or None,
        "sites": finding.sites,
        "advice": finding.advice,
    }
