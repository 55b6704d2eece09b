"""The record of a health examination as a JSON document, and back."""

from collections.abc import Mapping

from mhcdiag.results.documents import (
    Json,
    read_count,
    read_float,
    read_list,
    read_table,
    read_text,
    read_texts,
)
from mhcdiag.results.health import Basis, CheckResult, Finding, HealthResult, Severity
from mhcdiag.results.numbers import number
from mhcdiag.results.verdict import GainEvidence

# Writing


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
        "skipped": list(check.skipped),
        "evidence": None if check.evidence is None else str(check.evidence),
        "qualification": check.qualification or None,
    }


def _finding(finding: Finding) -> Json:
    return {
        "severity": str(finding.severity),
        "what": finding.what,
        "site": finding.site or None,
        "sites": finding.sites,
        "advice": finding.advice,
    }


# Reading


def health_of(document: object) -> HealthResult:
    """Return the record that a document was made of.

    Raises
    ------
    KeyError, TypeError, ValueError
        A part is missing or is not what was written.
    """
    found = read_table(document)
    sites = read_texts(found["sites"])
    return HealthResult(
        path=read_text(found["path"]),
        layout=read_text(found["layout"]),
        model=read_text(found["model"]),
        streams=read_count(found["streams"]),
        sites=sites,
        inputs=read_text(found["inputs"]),
        tokens=read_count(found["tokens"]),
        against=_text_or_empty(found["against"]),
        checks=tuple(_check_of(one, sites) for one in read_list(found["checks"])),
        assumed=read_texts(found["assumed"]),
        notes=read_texts(found["notes"]),
    )


def _check_of(document: object, sites: tuple[str, ...]) -> CheckResult:
    check = read_table(document)
    per_site = {
        name: tuple(read_float(value) for value in read_list(values))
        for name, values in read_table(check["per_site"]).items()
    }
    for name, values in per_site.items():
        if len(values) != len(sites):
            raise ValueError(f"{name}: {len(values)} numbers for {len(sites)} sites")
    return CheckResult(
        name=read_text(check["name"]),
        formula=read_text(check["formula"]),
        source=read_text(check["source"]),
        basis=Basis(check["basis"]),
        thresholds=_numbers_of(check["thresholds"]),
        overall=_numbers_of(check["overall"]),
        per_site=per_site,
        findings=tuple(_finding_of(one) for one in read_list(check["findings"])),
        not_checkable=_text_or_empty(check["not_checkable"]),
        # Records of earlier versions do not have it.
        skipped=read_texts(check.get("skipped", [])),
        # Reports from before have no check of the gain.
        evidence=None if check.get("evidence") is None else GainEvidence(check["evidence"]),
        qualification=_text_or_empty(check.get("qualification")),
    )


def _finding_of(document: object) -> Finding:
    finding = read_table(document)
    return Finding(
        severity=Severity(finding["severity"]),
        what=read_text(finding["what"]),
        site=_text_or_empty(finding["site"]),
        sites=read_count(finding["sites"]),
        advice=read_text(finding["advice"]),
    )


def _numbers_of(document: object) -> Mapping[str, float]:
    return {name: read_float(value) for name, value in read_table(document).items()}


def _text_or_empty(value: object) -> str:
    """What a record says with an empty text stands in JSON as null."""
    return "" if value is None else read_text(value)
