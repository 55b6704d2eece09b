"""What all formats of a check have in common: the gate that decided, and its number."""

from collections.abc import Callable
from html import unescape

import pytest
from reports.check_reports import NASTY, Huge, failing, nan_outcome, outcome, report, unjudged

from mhcdiag.reports.check_formats.csv_table import check_csv
from mhcdiag.reports.check_formats.github import check_github, github_summary
from mhcdiag.reports.check_formats.junit import check_junit
from mhcdiag.reports.check_formats.markdown import check_markdown
from mhcdiag.reports.check_formats.sarif import check_sarif
from mhcdiag.results.check import CheckReport
from mhcdiag.results.verdict import Verdict

FORMATS = (check_markdown, check_junit, check_sarif, check_github, github_summary)
"""For people; the CSV keeps value and limit in two cells."""

Format = Callable[[CheckReport], str]


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize(
    ("made", "gate", "words"),
    [
        (failing(), "no-nan", "spikes.count.nan of loss 3 > 0"),
        (unjudged(), "no-nan", "spikes.count.nan of loss missing, limit <= 0"),
        (
            report(outcome(gate="close", verdict=Verdict.FAIL, value=1000.00001)),
            "close",
            "gain.worst.backward.norm 1000.00001 > 1000",
        ),
        (
            report(outcome(gate="huge", verdict=Verdict.FAIL, value=Huge(4880.5))),
            "huge",
            "gain.worst.backward.norm 3.162e4880 > 1000",
        ),
        (report(outcome(gate="nan", verdict=Verdict.FAIL, value=float("nan"))), "nan", "norm nan, not <= 1000"),
        (report(outcome(gate="inf", verdict=Verdict.FAIL, value=float("inf"))), "inf", "norm inf > 1000"),
    ],
)
def test_every_format_names_the_gate_that_decided(format_: Format, made: CheckReport, gate: str, words: str) -> None:
    text = unescape(format_(made))
    assert gate in text
    assert words in text


@pytest.mark.parametrize("format_", [*FORMATS, check_csv])
def test_no_format_lets_a_control_character_through(format_: Format) -> None:
    text = format_(report(nan_outcome(gate=NASTY, path=NASTY, series=NASTY, finding=NASTY, reason=NASTY)))
    assert text.replace("\n", "").isprintable()
    assert text.endswith("\n")
