"""The CSV report, read back by the csv module."""

import csv
import io
import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reports.check_reports import EVERY, NASTY, broken_input, failing, many, nasty, nothing_checked, outcome, report

from mhcdiag.reports.check_formats.csv_table import COLUMNS, check_csv
from mhcdiag.reports.text import printable
from mhcdiag.results.check import CheckReport
from mhcdiag.results.numbers import Huge


def rows(made: CheckReport) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(check_csv(made), newline=""), strict=True))


@pytest.mark.parametrize("made", [*EVERY, many])
def test_one_row_per_outcome_and_unreadable_input(made: Callable[[], CheckReport]) -> None:
    whole = made()
    unreadable = [one for one in whole.inputs if one.result is None]
    assert len(rows(whole)) == len(whole.outcomes) + len(unreadable)
    assert len(check_csv(whole).splitlines()) == 1 + len(rows(whole))
    assert check_csv(whole) == check_csv(made())
    assert check_csv(whole).encode("utf-8").count(b"\r") == 0


def test_every_column_of_an_outcome() -> None:
    assert rows(failing())[4] == {
        "path": "logs/run.jsonl", "gate": "no-nan", "metric": "spikes.count.nan", "series": "loss", "outcome": "fail",
        "verdict": "fail", "severity": "error", "value": "3", "relation": "<=", "limit": "0", "baseline": "",
        "place": "step 12,040", "line": "1007", "finding": "the loss is NaN", "reason": "",
        "evidence": "", "bound": "",
    }  # fmt: skip


def test_order_is_the_reports_and_warnings_are_told_apart() -> None:
    words = [row["outcome"] for row in rows(failing())]
    assert words == ["pass", "warning", "unjudged", "pass", "fail", "fail"]


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, ""),
        (math.nan, "nan"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (3.0, "3"),
        (0.1, "0.1"),
        (1e300, "1e+300"),
    ],
)
def test_numbers(value: float | None, cell: str) -> None:
    (row,) = rows(report(outcome(value=value, limit=value, baseline=value)))
    assert [row[name] for name in ("value", "limit", "baseline")] == [cell] * 3


@given(st.floats(allow_nan=False))
def test_no_digit_is_lost(value: float) -> None:
    assert float(rows(report(outcome(value=value)))[0]["value"]) == value


def test_numbers_beyond_float64_keep_their_logarithm() -> None:
    mantissa, exponent = rows(report(outcome(value=Huge(4880.5))))[0]["value"].split("e")
    assert math.log10(float(mantissa)) + int(exponent) == pytest.approx(4880.5, abs=1e-9)


@given(st.text())
def test_names_come_back(name: str) -> None:
    (row,) = rows(report(outcome(gate=name, path=name, finding=name, reason=name)))
    assert [row[column] for column in ("gate", "path", "finding", "reason")] == [printable(name)] * 4


def test_nasty_names_stay_in_their_cells() -> None:
    first, long, broken = rows(nasty())
    assert first["gate"] == printable(NASTY)
    assert (len(long["gate"]), len(long["finding"])) == (100_003, 100_003)
    assert broken["finding"] == printable(NASTY)


def test_an_unreadable_input_has_a_row() -> None:
    (row,) = rows(report(inputs=(broken_input(),)))
    assert {name: cell for name, cell in row.items() if cell} == {
        "path": "checkpoints/broken",
        "outcome": "unreadable",
        "verdict": "unjudged",
        "finding": "4 bytes, shorter than a header",
    }


def test_nothing_checked_leaves_the_header() -> None:
    assert check_csv(nothing_checked()) == ",".join(COLUMNS) + "\n"
