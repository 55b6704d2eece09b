"""The outcome of `mhcdiag check` as CSV, one line per gate and input."""

import csv
import io

from mhcdiag.reports.check_formats.interface import ReportFormat
from mhcdiag.reports.check_words import standing
from mhcdiag.reports.text import all_digits, printable
from mhcdiag.results.check import CheckedInput, CheckReport, GateOutcome
from mhcdiag.results.numbers import Huge, Number, text

COLUMNS = (
    "path", "gate", "metric", "series", "outcome", "verdict", "severity", "value", "relation", "limit", "baseline",
    "place", "line", "finding", "reason", "evidence", "bound",
)  # fmt: skip


def check_csv(report: CheckReport) -> str:
    """Return all outcomes in the report's order, then the inputs that could not be read.

    A number that is missing is an empty cell; NaN and infinity are `nan` and `inf`, and every other number has all
    its digits. Control characters are escaped, so that a line of the text is a row.
    """
    lines = io.StringIO()
    # The module's own line end is CR LF, which text tools on Linux show as a stray character in the last column.
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_outcome(one, str(standing(one, strict=report.strict)).lower()) for one in report.outcomes)
    writer.writerows(_unreadable(one) for one in report.inputs if one.result is None)
    return lines.getvalue()


CSV = ReportFormat(name="csv", suffixes=(".csv",), about="tables: a row per gate and input", render=check_csv)


def _outcome(one: GateOutcome, word: str) -> list[str]:
    place, line = (one.place.text, one.place.line) if one.place else ("", None)
    cells = [
        *(one.path, one.gate, one.metric, one.series or "", word, one.verdict, one.severity),
        *(_cell(one.value), one.relation, _cell(one.limit), _cell(one.baseline)),
        *(place, "" if line is None else str(line), one.finding, one.reason),
        *(one.evidence or "", _cell(one.bound)),
    ]
    return [printable(cell) for cell in cells]


def _unreadable(one: CheckedInput) -> list[str]:
    """Return a line without a gate: an input that could not be read must not be missing from a table."""
    known = {"path": one.path, "outcome": "unreadable", "verdict": str(one.verdict), "finding": one.error}
    return [printable(known.get(column, "")) for column in COLUMNS]


def _cell(number: Number | None) -> str:
    if number is None:
        return ""
    if isinstance(number, Huge):
        return text(number, digits=17)
    return all_digits(number)
