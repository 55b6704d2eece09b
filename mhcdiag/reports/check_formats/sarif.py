"""The outcome of `mhcdiag check` as SARIF 2.1.0, for code scanning and editors.

One rule per metric, one result per outcome that does not pass. What could not be judged has level `error` too: viewers
ignore the field `kind`, and such an outcome must not look like a pass.
"""

import hashlib
import json
import re
from pathlib import PureWindowsPath
from typing import Any
from urllib.parse import quote

from mhcdiag.metrics import METRICS
from mhcdiag.metrics.gain import EVIDENCE
from mhcdiag.reports.check_formats.interface import ReportFormat
from mhcdiag.reports.check_words import (
    Standing,
    decision_text,
    input_facts,
    sentence,
    shortened,
    standing,
    verdict_text,
    worst_first,
)
from mhcdiag.reports.text import printable
from mhcdiag.results.check import CheckReport, GateOutcome
from mhcdiag.results.numbers import number
from mhcdiag.results.verdict import Verdict

MOST_RESULTS = 5000
"""GitHub shows no more of one run."""

MOST_CHARACTERS = 1000
"""Of one message, which viewers show in a list."""

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
# An outcome that passes is no result: code scanning would show it as an alert.
LEVELS = {Standing.FAILED: "error", Standing.UNJUDGED: "error", Standing.WARNED: "warning"}

Json = dict[str, Any]


def check_sarif(report: CheckReport) -> str:
    """Return the report as one JSON document, ending in a newline."""
    run = {
        "tool": {"driver": _driver(report)},
        # Code scanning replaces the results of an earlier run of one category, which is what stands before the slash.
        "automationDetails": {"id": "mhcdiag/check/"},
        "invocations": [_invocation(report)],
        "artifacts": _artifacts(report),
        "results": _results(report),
        "columnKind": "unicodeCodePoints",  # as Python counts
        "properties": {
            "verdict": str(report.verdict),
            "policy": printable(report.policy),
            "baseline": None if report.baseline is None else printable(report.baseline),
            "strict": report.strict,
            "evidence": None if report.evidence is None else str(report.evidence),
        },
    }
    document = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


SARIF = ReportFormat(name="sarif", suffixes=(".sarif",), about="code scanning", render=check_sarif)


def uri(path: str) -> str:
    """Return a path as a URI reference: relative as it was named, an absolute one with its scheme.

    >>> uri("./logs/a b.jsonl"), uri("/data/x"), uri("a:b"), uri("https://host/x y")
    ('logs/a%20b.jsonl', 'file:///data/x', 'a%3Ab', 'https://host/x%20y')
    """
    # Two letters at least: `C:` is a drive, and a colon in a relative name is quoted, or it would make a scheme.
    scheme = re.match("[a-z][a-z0-9+.-]+://", path)
    if scheme:
        return scheme.group() + _quoted(path[scheme.end() :], safe="/?&=%:@")
    if re.match(r"[A-Za-z]:[\\/]", path):
        return f"file:///{path[0]}:{_quoted(PureWindowsPath(path[2:]).as_posix())}"
    plain = path.removeprefix("./") or "."
    return f"file://{_quoted(plain)}" if plain.startswith("/") else _quoted(plain)


def _quoted(path: str, safe: str = "/") -> str:
    return quote(path.encode("utf-8", "surrogatepass"), safe=safe)  # a file name may hold bytes that are no text


def _driver(report: CheckReport) -> Json:
    return {
        "name": "mhcdiag",
        "version": report.version,
        "rules": [_rule(metric) for metric in _metrics(report)],
    }


def _metrics(report: CheckReport) -> list[str]:
    return list(dict.fromkeys(one.metric for one in report.outcomes))


def _rule(metric: str) -> Json:
    name = printable(metric)
    full = f"{name} is held against the limits of the policy's gates."
    advice = "`mhcdiag explain` tells what a gate measures, its false alarms, and what to do."
    words = METRICS[metric].explanation if metric in METRICS else EVIDENCE if metric == "gain.evidence" else None
    if words is not None:
        full = words.measures
        advice = f"{words.action} False alarms: {words.false_alarms} Source: {words.source}."
    return {
        "id": name,
        "shortDescription": {"text": shortened(f"A limit on {name}", 255)},
        "fullDescription": {"text": shortened(full, 1000)},
        "help": {"text": advice},
        "defaultConfiguration": {"level": "error"},
        "properties": {"tags": ["training-stability", name.partition(".")[0]]},
    }


def _results(report: CheckReport) -> list[Json]:
    rules = {metric: index for index, metric in enumerate(_metrics(report))}
    return [
        _result(one, standing(one, strict=report.strict), rules[one.metric]) for one in _shown(report)[:MOST_RESULTS]
    ]


def _shown(report: CheckReport) -> list[GateOutcome]:
    return [one for one in worst_first(report) if one.verdict is not Verdict.PASS]


def _result(one: GateOutcome, found: Standing, rule: int) -> Json:
    reason = f" (why this gate: {printable(one.reason)})" if one.reason else ""
    return {
        "ruleId": printable(one.metric),
        "ruleIndex": rule,
        "level": LEVELS[found],
        "message": _message(f"{found}: {printable(one.gate)}: {sentence(one)}{reason}"),
        "locations": [_location(one)],
        # Without one, code scanning hashes the lines of the source, and a checkpoint has none.
        "partialFingerprints": {"mhcdiagGate/v1": _fingerprint(one)},
        "properties": _properties(one),
    }


def _properties(one: GateOutcome) -> Json:
    known: Json = {"gate": printable(one.gate), "verdict": str(one.verdict), "severity": str(one.severity)}
    if one.evidence is not None:
        known |= {"evidence": str(one.evidence), "bound": number(one.bound)}
    return known


def _location(one: GateOutcome) -> Json:
    # Code scanning shows no result without a place, so each has at least its file; lines count from 1 (3.30.5).
    place: Json = {"artifactLocation": _artifact(one.path)}
    found: Json = {"physicalLocation": place}
    if one.place is not None and one.place.line is not None and one.place.line > 0:
        place["region"] = {"startLine": one.place.line}
    if one.place is not None and one.place.text:
        found["message"] = _message(printable(one.place.text))
    return found


def _artifact(path: str) -> Json:
    address = uri(path)
    # %SRCROOT% is the name that GitHub resolves to the top of the repository.
    return {"uri": address} if re.match("[a-z][a-z0-9+.-]+:", address) else {"uri": address, "uriBaseId": "%SRCROOT%"}


def _fingerprint(one: GateOutcome) -> str:
    """Return what stays the same from run to run: not the value, and not the line, which moves as a log grows."""
    parts = json.dumps([one.gate, one.metric, one.series, one.path])
    return hashlib.sha256(parts.encode("ascii")).hexdigest()[:32]


def _message(words: str) -> Json:
    """Return a message in which nothing from a file is taken for markup.

    A bracket before a parenthesis would make a link (3.11.6); a brace stands for an argument unless it is written twice
    (3.11.5).
    """
    plain = shortened(words, MOST_CHARACTERS).replace("](", "] (")
    return {"text": plain.replace("{", "{{").replace("}", "}}")}


def _artifacts(report: CheckReport) -> list[Json]:
    paths = {one.path: one.sha256 for one in report.inputs}
    return [
        {
            "location": _artifact(path),
            "roles": ["analysisTarget"],
            **({"hashes": {"sha-256": sha256}} if sha256 else {}),
        }
        for path, sha256 in paths.items()
    ]


def _invocation(report: CheckReport) -> Json:
    notifications = _notifications(report)
    return {
        "executionSuccessful": not any(one["level"] == "error" for one in notifications),
        "exitCode": report.exit_code,
        "exitCodeDescription": shortened(verdict_text(report), MOST_CHARACTERS),
        "endTimeUtc": report.created.replace("+00:00", "Z"),  # the standard (3.9) wants the letter
        "toolExecutionNotifications": notifications,
    }


def _notifications(report: CheckReport) -> list[Json]:
    """Return what hindered the check: unreadable inputs, a verdict that no result carries, results left out."""
    found = [_notification("error", input_facts(one), path=one.path) for one in report.inputs if one.result is None]
    shown = _shown(report)
    if report.verdict is not Verdict.PASS and not found and report.decided_by is None:
        found.append(_notification("error", decision_text(report)))
    if len(shown) > MOST_RESULTS:
        more = f"{len(shown) - MOST_RESULTS:,} more gates do not pass: only the first {MOST_RESULTS:,} are listed"
        found.append(_notification("warning", more))
    return found


def _notification(level: str, words: str, *, path: str | None = None) -> Json:
    found: Json = {"level": level, "message": _message(words)}
    if path is not None:
        found["locations"] = [{"physicalLocation": {"artifactLocation": _artifact(path)}}]
    return found
