"""The report of `mhcdiag health`, as text and JSON."""

import json
from collections.abc import Iterator, Sequence

from mhcdiag.reports.text import printable, reason_beside, wrapped
from mhcdiag.results.documents.health import health_document
from mhcdiag.results.documents.weights import weights_document
from mhcdiag.results.health import CheckResult, Finding, HealthResult, Severity
from mhcdiag.results.judged import JudgedHealth, Unreadable
from mhcdiag.results.verdict import Verdict
from mhcdiag.results.wording import counted, plural

MOST_NUMBERS = 3
"""Numbers that are shown of a check that found nothing; --verbose shows all."""


def health_text(result: HealthResult, *, width: int, details: bool = False) -> str:
    """Check by check: what was found, what to do, and what could not be checked.

    Parameters
    ----------
    width
        Columns of the terminal.
    details
        Formula, source, thresholds and numbers of every check.
    """
    model = f" ({result.model})" if result.model and result.model != result.layout else ""
    against = f", against {result.against}" if result.against else ""
    lines = [
        result.path,
        f"  {result.layout}{model}, {len(result.sites)} sites, {result.streams} {plural(result.streams, 'stream')}; "
        f"{result.inputs} inputs, {result.tokens} {plural(result.tokens, 'token')}{against}",
    ]
    for check in result.checks:
        if not check.not_checkable or details:
            lines += _check(check, width=width, details=details)
    if not details:
        lines += _not_made(result.checks, width)
    lines += [line for note in result.notes for line in wrapped("  note: ", note, width, indent=4)]
    lines += [line for said in result.assumed for line in wrapped("  assumed: ", said, width, indent=4)]
    return "\n".join(printable(line) for line in lines) + "\n"


def verdict_line(each: JudgedHealth | Unreadable) -> str:
    """The verdict with what decided it."""
    reason = f"  {reason_beside(each.path, each.reason)}" if each.verdict is not Verdict.PASS else ""
    sampled = _sampled(each.result) if isinstance(each, JudgedHealth) and each.verdict is Verdict.PASS else ""
    caveats = "".join(f"  {caveat}" for caveat in _caveats(each)) if isinstance(each, JudgedHealth) else ""
    return printable(f"{each.verdict.upper()}{sampled}  {each.path}{reason}{caveats}")


def _caveats(each: JudgedHealth) -> Iterator[str]:
    """What whoever reads the last line alone must know: checks that warn, and what is said of the weights."""
    warned = [
        check.name
        for check in each.result.checks
        if any(finding.severity is Severity.WARN for finding in check.findings)
    ]
    # A gain that is merely sampled warns, too; the verdict has said so already.
    warned = [name for name in warned if not (name == "gain" and _sampled(each.result))]
    if warned and each.verdict is Verdict.PASS:
        yield f"{counted(len(warned), 'check')} with warnings: {', '.join(warned)}"
    yield from () if each.weights is None else each.weights.caveats


def _sampled(result: HealthResult) -> str:
    """What stands behind PASS where the gain is merely sampled, as in `mhcdiag gain`."""
    check = result.gain
    return f" {check.qualification}" if check is not None and check.qualification else ""


def health_json(judged: Sequence[JudgedHealth | Unreadable]) -> str:
    """All results as one JSON document."""
    return (
        json.dumps({"format_version": 1, "command": "health", "results": [_record(each) for each in judged]}, indent=2)
        + "\n"
    )


def _check(check: CheckResult, *, width: int, details: bool) -> list[str]:
    if check.not_checkable:
        lines = wrapped(f"  {check.name:12} ", f"not checked: {check.not_checkable}", width, indent=15)
    elif not check.findings:
        numbers = "" if details else _numbers(check, most=MOST_NUMBERS).replace("_", " ")
        lines = wrapped(
            f"  {check.name:12} ", f"nothing found{numbers and f': {numbers}'}  [{_basis(check)}]", width, indent=15
        )
    else:
        lines = []
        for finding in check.findings:
            head = f"  {check.name:12} {finding.severity.upper():4} "
            lines += wrapped(head, f"{_where(finding)}{finding.what}  [{_basis(check)}]", width, indent=15)
            lines += wrapped(" " * 15, f"-> {finding.advice}", width, indent=18)
    for skipped in check.skipped:
        lines += wrapped(" " * 15, f"skipped: {skipped}", width, indent=17)
    if details:
        lines += wrapped(" " * 15, f"formula: {check.formula}", width, indent=17)
        lines += wrapped(" " * 15, f"source: {check.source}", width, indent=17)
        thresholds = ", ".join(f"{name} {value:g}" for name, value in check.thresholds.items())
        lines += wrapped(" " * 15, f"thresholds: {thresholds}", width, indent=17)
        lines += wrapped(" " * 15, f"overall: {_numbers(check) or 'none'}", width, indent=17)
    return lines


def _numbers(check: CheckResult, *, most: int | None = None) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in list(check.overall.items())[:most])


def _not_made(checks: Sequence[CheckResult], width: int) -> list[str]:
    """Checks that could not be made, those of one reason together."""
    by_reason: dict[str, list[str]] = {}
    for check in checks:
        if check.not_checkable:
            by_reason.setdefault(check.not_checkable, []).append(check.name)
    lines = []
    for reason, names in by_reason.items():
        lines += wrapped(f"  {', '.join(names):12} ", f"not checked: {reason}", width, indent=15)
    return lines


def _basis(check: CheckResult) -> str:
    return str(check.basis if check.evidence is None else check.evidence)


def _where(finding: Finding) -> str:
    if not finding.site:
        return ""
    more = f" and {finding.sites - 1} more" if finding.sites > 1 else ""
    return f"{finding.site}{more}: "


def _record(each: JudgedHealth | Unreadable) -> dict[str, object]:
    judged: dict[str, object] = {"path": each.path, "verdict": str(each.verdict), "reason": each.reason}
    if isinstance(each, Unreadable):
        return judged
    weights = None if each.weights is None else weights_document(each.weights)
    return judged | health_document(each.result) | {"weights": weights}
