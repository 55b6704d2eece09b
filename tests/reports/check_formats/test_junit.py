"""The JUnit report, read back by an XML parser."""

from collections.abc import Callable
from xml.etree import ElementTree as Tree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reports.check_reports import (
    EVERY,
    NASTY,
    failing,
    healthy,
    many,
    nan_outcome,
    nasty,
    nothing_checked,
    outcome,
    read_input,
    report,
    unjudged,
    unreadable,
    warning,
)

from mhcdiag.reports.check_formats.junit import check_junit
from mhcdiag.reports.text import printable
from mhcdiag.results.check import CheckReport, GateSeverity
from mhcdiag.results.verdict import Verdict

ENDINGS = ("failure", "error", "skipped")


def parsed(made: CheckReport) -> Tree.Element:
    return Tree.fromstring(check_junit(made).encode("utf-8"))


def endings(made: CheckReport) -> dict[tuple[str, str], str]:
    """How each case ended, by input and name."""
    return {
        (suite.attrib["name"], case.attrib["name"]): next((part.tag for part in case if part.tag in ENDINGS), "pass")
        for suite in parsed(made)
        for case in suite.iter("testcase")
    }


@pytest.mark.parametrize("made", [*EVERY, many])
def test_counts_agree_with_the_cases(made: Callable[[], CheckReport]) -> None:
    root = parsed(made())
    for element in (root, *root):
        assert int(element.attrib["tests"]) == len(list(element.iter("testcase")))
        for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(element.attrib[name]) == len(list(element.iter(tag)))


@pytest.mark.parametrize("made", [*EVERY, many])
def test_a_document_is_red_exactly_if_the_check_did_not_pass(made: Callable[[], CheckReport]) -> None:
    root = parsed(made())
    red = int(root.attrib["failures"]) + int(root.attrib["errors"])
    assert (red > 0) == (made().verdict is not Verdict.PASS)
    assert check_junit(made()) == check_junit(made())


def test_each_ending() -> None:
    assert endings(failing()) == {
        ("checkpoints/step_100", "max-gain"): "pass",
        ("checkpoints/step_100", "spread"): "skipped",
        ("checkpoints/step_100", "ratio"): "error",
        ("logs/run.jsonl", "blips"): "pass",
        ("logs/run.jsonl", "no-nan"): "failure",
        ("checkpoints/step_200", "exploded"): "failure",
    }
    assert set(endings(healthy()).values()) == {"pass"}
    assert endings(warning())["logs/run.jsonl", "no-nan"] == "skipped"
    assert endings(unjudged())["logs/run.jsonl", "no-nan"] == "error"


def test_a_warning_counts_under_strict() -> None:
    made = report(nan_outcome(severity=GateSeverity.WARNING), strict=True)
    assert endings(made) == {("logs/run.jsonl", "no-nan"): "failure"}


def test_a_case_says_what_failed_and_where() -> None:
    (case,) = [case for case in parsed(failing()).iter("testcase") if case.attrib["name"] == "no-nan"]
    assert case.attrib == {
        "classname": "mhcdiag.spikes", "name": "no-nan", "file": "logs/run.jsonl", "time": "0", "line": "1007",
    }  # fmt: skip
    failure = case.find("failure")
    assert failure is not None
    assert failure.attrib == {
        "type": "mhcdiag.GateFailed",
        "message": "FAIL: spikes.count.nan of loss 3 > 0, logs/run.jsonl:1007 (step 12,040): the loss is NaN",
    }


def test_a_warning_has_its_word_and_the_reason_of_the_gate() -> None:
    skipped = parsed(failing()).find(".//skipped")
    assert skipped is not None
    assert skipped.attrib["message"].startswith("warning: gain.worst.backward.norm 28345 > 1000")
    assert (skipped.text or "").endswith("\nwhy this gate: the paper calls 1000 exploded")


def test_class_names_follow_the_metric() -> None:
    made = report(outcome(), outcome(gate="h", metric="health.collapse"), nan_outcome())
    names = [case.attrib["classname"] for case in parsed(made).iter("testcase")]
    assert names == ["mhcdiag.gain", "mhcdiag.health", "mhcdiag.spikes"]


def test_an_unreadable_input_is_an_error_in_a_suite_of_its_own() -> None:
    first = parsed(unreadable())[0]
    assert first.attrib["name"] == "checkpoints/broken"
    (case,) = first.iter("testcase")
    assert (case.attrib["classname"], case.attrib["name"]) == ("mhcdiag.gain", "read")
    error = case.find("error")
    assert error is not None
    assert error.attrib["message"] == "could not be read: 4 bytes, shorter than a header"


def test_where_no_gate_decided_a_case_of_its_own_does() -> None:
    assert endings(nothing_checked()) == {("mhcdiag check", "verdict"): "error"}
    assumed = report(outcome(), verdict=Verdict.UNJUDGED, strict=True, inputs=(read_input(verdict=Verdict.UNJUDGED),))
    assert endings(assumed)["mhcdiag check", "verdict"] == "error"
    assert endings(report(outcome(), verdict=Verdict.FAIL))["mhcdiag check", "verdict"] == "failure"


def test_a_suite_carries_time_facts_and_allowed_events() -> None:
    suite = parsed(failing())[1]
    assert suite.attrib["timestamp"] == "2026-01-02T03:04:05+00:00"
    output = suite.find("system-out")
    assert output is not None
    lines = (output.text or "").splitlines()
    assert lines[0].startswith("jsonl, 1,009 lines, 1 run")
    assert lines[-1] == ("spike of loss at step 12,000, logs/run.jsonl:401, allowed: the data of this week are noisy")


@given(st.text())
def test_any_text_comes_back_and_never_breaks_the_document(text: str) -> None:
    made = report(nan_outcome(gate=text, path=text, finding=text, reason=text))
    (case,) = parsed(made).iter("testcase")
    assert (case.attrib["name"], case.attrib["file"]) == (printable(text), printable(text))


def test_characters_that_xml_forbids_are_escaped() -> None:
    (case, *_) = parsed(nasty()).iter("testcase")
    assert case.attrib["name"] == printable(NASTY)
    assert "\\x00\\ufffe\U0001f525" in case.attrib["name"]
    assert len(list(parsed(nasty()).iter("testcase"))) == 3


def test_one_input_named_twice_has_one_suite() -> None:
    made = report(outcome(), inputs=(read_input(), read_input()))
    assert [suite.attrib["name"] for suite in parsed(made)] == ["checkpoints/step_100"]
