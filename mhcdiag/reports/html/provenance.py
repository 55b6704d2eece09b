"""Where every number comes from."""

from mhcdiag.reports.html.table import Table, columns
from mhcdiag.reports.sizes import in_bytes
from mhcdiag.results.check import CheckReport
from mhcdiag.results.gain import GainResult
from mhcdiag.results.spikes import LogResult


def run_facts(report: CheckReport) -> tuple[tuple[str, str], ...]:
    """What ran, when, and by which policy."""
    return (
        ("mhcdiag", report.version),
        ("made", report.created),
        ("policy", report.policy),
        ("baseline", report.baseline or "none"),
        ("strict", "yes: warnings, assumptions and skipped parts count" if report.strict else "no"),
    )


def files_table(report: CheckReport) -> Table:
    """Every input with its hash, and how much of it was read."""
    rows = tuple((one.path, str(one.family), *_reading(one.result), one.sha256 or "–") for one in report.inputs)
    return Table(
        caption="Files",
        columns=columns("path", "what", "read as", "computed", "read", "of", "sha256", numeric=("read", "of")),
        rows=rows,
        note="No sha256: not all bytes were read (a large checkpoint, standard input, a folder), or it was unreadable.",
    )


def _reading(result: GainResult | LogResult | None) -> tuple[str, str, str, str]:
    """Format, how it was computed, what was read, and of how much."""
    if isinstance(result, GainResult):
        spans = f", spans {result.span_tokens}" if result.span_tokens != result.tokens else ""
        computed = f"{result.inputs} inputs, tokens {result.tokens}{spans}; {result.dtype} on {result.device}"
        model = f" ({result.model})" if result.model not in ("", result.layout) else ""
        read = in_bytes(result.bytes_read), in_bytes(result.bytes_total)
        return f"layout {result.layout}{model}", f"{computed}, kernel {result.kernel}", *read
    if isinstance(result, LogResult):
        unreadable = f", {result.unreadable_lines:,} unreadable" if result.unreadable_lines else ""
        lines = f"{result.loss_lines:,} lines with a loss{unreadable}"
        return f"format {result.format}", f"rule {result.rule}", lines, f"{result.lines:,} lines"
    return "could not be read", "–", "–", "–"
