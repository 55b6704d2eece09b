"""The report of `mhcdiag weights` as text, JSON and CSV, and what other reports say of the same scan."""

import csv
import io
import json
from collections.abc import Iterator, Sequence

from mhcdiag.reports.text import all_digits, in_bytes, printable, reason_beside, wrapped
from mhcdiag.results.documents.weights import weights_document
from mhcdiag.results.health import SEVERITIES
from mhcdiag.results.judged import JudgedWeights, Unreadable
from mhcdiag.results.verdict import Verdict, combine
from mhcdiag.results.weights import WeightsFinding, WeightsKind, WeightsResult
from mhcdiag.results.wording import counted, plural

MOST = 4
"""Findings of one kind that are shown; --verbose shows all."""

FORMAT_VERSION = 1


def weights_text(result: WeightsResult, *, width: int, details: bool = False) -> str:
    """What was looked at, what was found, and what was not looked at.

    Parameters
    ----------
    width
        Columns of the terminal.
    details
        Every finding, and the numbers of every tensor.
    """
    lines = [result.path, *wrapped("  ", looked_at(result, details=details), width, indent=4)]
    lines += findings_lines(result, width=width, most=None if details else MOST)
    lines += _remarks(result, width)
    if details:
        lines += ["", *_table(result)]
    return "\n".join(printable(line) for line in lines) + "\n"


def weights_lines(result: WeightsResult | None, *, width: int, details: bool = False) -> str:
    """What the report of another command says of the scan; nothing where nobody asked for one."""
    if result is None:
        return ""
    looked = looked_at(result, details=details)
    said = looked if result.unscanned else f"weights: {looked}"
    if result.unscanned:
        said += f" (--scan, about {result.minutes} min)"
    elif not result.findings:
        said += "; nothing found"
    lines = wrapped("  ", said, width, indent=4)
    lines += findings_lines(result, width=width, most=None if details else 2)
    return "".join(f"{printable(line)}\n" for line in (*lines, *_remarks(result, width)))


def verdict_line(each: JudgedWeights | Unreadable) -> str:
    """The verdict with what decided it, and how much it rests on."""
    if each.verdict is not Verdict.PASS or isinstance(each, Unreadable):
        return printable(f"{each.verdict.upper()}  {each.path}  {reason_beside(each.path, each.reason)}")
    result = each.result
    warned = sum(one.severity == "warn" for one in result.findings)
    said = [] if result.is_complete else [f"of {_share(result)}"]
    said += [f"{counted(warned, 'warning')}"] if warned else []
    said += [f"{counted(len(result.allowed), 'finding')} allowed"] if result.allowed else []
    said += [f"not looked at: {words}" for words in result.unread]
    return printable(f"PASS  {each.path}" + (f"  ({'; '.join(said)})" if said else ""))


def looked_at(result: WeightsResult, *, details: bool = False) -> str:
    """How much was looked at, as a clause; with `details` also how long it took, which no two runs agree on."""
    if result.unscanned:
        return f"weights not scanned: {result.unscanned}"
    share = "all of them" if result.is_complete else _share(result)
    return (
        f"{counted(result.tensors, 'tensor')}, {counted(result.elements, 'value')}, {in_bytes(result.bytes_total)}; "
        f"looked at {share}{f' in {result.seconds:.2g} s ({result.kernel})' if details else ''}"
    )


def _share(result: WeightsResult) -> str:
    """How many tensors and values; a share below all of them is never rounded up to it."""
    percent = 100 * result.elements_scanned / max(1, result.elements)
    shown = f"{min(percent, 99.9):.3g}" if result.elements_scanned < result.elements else "100"
    return f"{result.tensors_scanned:,} of {counted(result.tensors, 'tensor')}, {shown} % of the values"


def findings_lines(result: WeightsResult, *, width: int, most: int | None) -> list[str]:
    """Findings, worst first, those of one kind together.

    Parameters
    ----------
    most
        Findings of one kind that are shown; None shows all.
    """
    lines: list[str] = []
    for severity in reversed(SEVERITIES):
        by_kind: dict[WeightsKind, list[WeightsFinding]] = {}
        for one in result.of(severity):
            by_kind.setdefault(one.kind, []).append(one)
        for kind, found in by_kind.items():
            head = f"  {severity.upper():4} {str(kind).replace('_', ' ')}: "
            for one in found[:most]:
                lines += wrapped(head, one.what, width, indent=9)
            if most is not None and len(found) > most:
                lines.append(f"{' ' * 9}and {len(found) - most:,} more like it (--verbose)")
            lines += wrapped(" " * 7 + "-> ", found[0].why, width, indent=10)
    return lines


def _remarks(result: WeightsResult, width: int) -> Iterator[str]:
    for skipped in result.skipped[:MOST]:
        yield from wrapped("  not read: ", f"{skipped.what}: {skipped.reason}", width, indent=4)
    if len(result.skipped) > MOST:
        yield f"  not read: {len(result.skipped) - MOST:,} more tensors"
    if result.left_out:
        others = f"{counted(result.left_out, 'tensor')} that {plural(result.left_out, 'matches').removesuffix('s')}"
        yield from wrapped("  left out: ", f"{others} no pattern of --match", width, indent=4)
    for one in result.allowed[:MOST]:
        yield from wrapped("  allowed: ", f"{one.severity} {one.what}", width, indent=4)
    if len(result.allowed) > MOST:
        yield f"  allowed: {len(result.allowed) - MOST:,} more findings"
    for words in result.unread:
        yield from wrapped("  not looked at: ", words, width, indent=4)
    for note in result.notes:
        yield from wrapped("  note: ", note, width, indent=4)


def _table(result: WeightsResult) -> list[str]:
    """The numbers of every tensor, names last: they are as long as they like."""
    head = f"  {'type':8} {'values':>13} {'zeros':>7} {'largest':>10} {'RMS':>10}  name and shape"
    rows = []
    for one in result.numbers:
        zeros = one.zeros / one.scanned if one.scanned else 0.0
        rows.append(
            f"  {one.dtype:8} {one.scanned:>13,} {zeros:>7.2%} {one.absmax:>10.4g} {one.rms:>10.4g}  "
            f"{one.name} {list(one.shape)}"
        )
    return [head, *rows]


def weights_json(judged: Sequence[JudgedWeights | Unreadable]) -> str:
    """All results as one JSON document, with the numbers of every tensor."""
    document = {
        "format_version": FORMAT_VERSION,
        "command": "weights",
        "verdict": str(combine(each.verdict for each in judged)),
        "results": [_record(each) for each in judged],
    }
    return json.dumps(document, allow_nan=False, ensure_ascii=False) + "\n"


def _record(each: JudgedWeights | Unreadable) -> dict[str, object]:
    if isinstance(each, Unreadable):
        return {"path": each.path, "verdict": str(each.verdict), "error": each.reason}
    judged: dict[str, object] = {"path": each.path, "verdict": str(each.verdict), "reason": each.reason}
    return judged | weights_document(each.result, numbers=True)


COLUMNS = (
    "path",
    "name",
    "dtype",
    "shape",
    "elements",
    "scanned",
    "nan",
    "infinite",
    "zeros",
    "absmax",
    "rms",
    "findings",
)


def weights_csv(judged: Sequence[JudgedWeights | Unreadable]) -> str:
    """Every tensor of all checkpoints, one a line, with the kinds of what was found in it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for each in judged:
        if isinstance(each, Unreadable):
            continue
        kinds: dict[str, list[str]] = {}
        for one in each.result.findings:
            kinds.setdefault(one.what.partition(": ")[0], []).append(str(one.kind))
        for numbers in each.result.numbers:
            sizes = [numbers.elements, numbers.scanned, numbers.nan, numbers.infinite, numbers.zeros]
            shape = "x".join(map(str, numbers.shape))
            values = [all_digits(numbers.absmax), all_digits(numbers.rms)]
            found = " ".join(kinds.get(numbers.name, []))
            writer.writerow([each.path, numbers.name, numbers.dtype, shape, *sizes, *values, found])
    return text.getvalue()
