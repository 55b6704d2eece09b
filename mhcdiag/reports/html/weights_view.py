"""What a page says of the scan of all weights of a checkpoint: one line, warnings that nobody may miss, and a table."""

from collections.abc import Iterator

from mhcdiag.reports.html.parts import Table, columns
from mhcdiag.reports.text import in_bytes
from mhcdiag.results.health import Severity
from mhcdiag.results.weights import WeightsFinding, WeightsResult
from mhcdiag.results.wording import counted

MOST = 200
"""Findings that are listed: a checkpoint full of NaN has one for each of its tensors."""


def weights_fact(weights: WeightsResult) -> str:
    """How much was looked at and what came of it, in one line; the same bytes for the same checkpoint."""
    if weights.unscanned:
        return f"not scanned: {weights.unscanned}"
    share = 100 * weights.elements_scanned / max(1, weights.elements)
    looked = "all" if weights.is_complete else f"{min(share, 99.9):.3g} %"
    counts = [
        f"{count} {severity}"
        for severity in (Severity.FAIL, Severity.WARN, Severity.NOTE)
        if (count := len(tuple(weights.of(severity))))
    ]
    return (
        f"{looked} of {counted(weights.elements, 'value')} in {counted(weights.tensors, 'tensor')} "
        f"({in_bytes(weights.bytes_total)}) looked at: {', '.join(counts) or 'nothing found'}"
    )


def weights_warnings(weights: WeightsResult) -> Iterator[tuple[str, str, str]]:
    """Yield tone, label and text of what must not be missed."""
    for one in weights.nonfinite[:3]:
        yield "fail", "broken", one.what
    if weights.unscanned:
        yield "warning", "weights", f"not scanned: {weights.unscanned}"
    for skipped in weights.skipped[:3]:
        yield "warning", "not read", f"{skipped.what}: {skipped.reason}"
    for words in weights.unread:
        yield "note", "not looked at", words
    for one in weights.allowed[:10]:
        yield "note", "allowed", f"{one.severity} {one.what}"


def weights_table(weights: WeightsResult) -> Table:
    """Every finding with its number, its limit and why it matters, worst first."""
    rows = tuple(map(_row, weights.findings[:MOST]))
    more = len(weights.findings) - len(rows)
    note = f"{more:,} more; `mhcdiag weights --verbose` lists all" if more > 0 else ""
    labels = ("severity", "what", "tensor", "at", "number", "limit", "found", "why it matters")
    return Table(
        caption="Weights unlike the others, or broken",
        columns=columns(*labels, numeric=("number", "limit")),
        rows=rows,
        note=note,
    )


def _row(one: WeightsFinding) -> tuple[str, ...]:
    return (
        str(one.severity),
        str(one.kind).replace("_", " "),
        one.tensor,
        "" if one.position is None else ", ".join(map(str, one.position)),
        f"{one.value:.4g}",
        f"{one.limit:.4g}",
        one.what.partition(": ")[2],
        one.why,
    )
