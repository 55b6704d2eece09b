"""Words for the outcome of a check: value and limit never look equal when they are not."""

import math
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from reports.check_reports import (
    EVERY,
    broken_input,
    failing,
    gain_result,
    healthy,
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

from mhcdiag.reports.check_words import (
    Standing,
    decision_text,
    input_facts,
    input_remarks,
    measured_text,
    number_text,
    place_text,
    sentence,
    shortened,
    standing,
    tally,
    tally_text,
    texts_beside,
    verdict_text,
    worst_first,
)
from mhcdiag.results.check import Family, GateSeverity, ValuePlace
from mhcdiag.results.gain import NonFinite
from mhcdiag.results.numbers import Huge
from mhcdiag.results.verdict import Relation, Verdict

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(FINITE, FINITE)
@example(0.12346, 0.12345)
@example(1000.00001, 1000.0)
@example(1000.0, 1000.00001)
@example(math.nextafter(1.1, 2), 1.1)
@example(-1.00001, -1.0)
@example(5e-324, 0.0)
@example(999999.5, 1e6)
def test_the_printed_order_is_the_true_order(value: float, limit: float) -> None:
    shown, shown_limit = (float(one) for one in texts_beside(value, limit))
    assert (shown > shown_limit, shown < shown_limit) == (value > limit, value < limit)


@given(FINITE)
def test_a_neighbour_never_looks_like_the_limit(limit: float) -> None:
    shown, shown_limit = texts_beside(math.nextafter(limit, math.inf), limit)
    assert shown != shown_limit


@given(st.floats(min_value=308, max_value=1e6), FINITE)
@example(308.0, 1e308)
def test_numbers_beyond_float64_never_look_like_the_limit(log10: float, limit: float) -> None:
    shown, shown_limit = texts_beside(Huge(log10), limit)
    assert shown != shown_limit


@pytest.mark.parametrize(
    ("value", "limit", "words"),
    [
        (2.0, 1000.0, "2 <= 1000"),
        (1000.0, 1000.0, "1000 <= 1000"),
        (1000.00001, 1000.0, "1000.00001 > 1000"),
        (2.5, 3.25, "2.500 <= 3.250"),
        (math.nan, 1000.0, "nan, not <= 1000"),
        (math.inf, 1000.0, "inf > 1000"),
        (Huge(4880.5), 1000.0, "3.162e4880 > 1000"),
        (None, 1000.0, "missing, limit <= 1000"),
        (None, None, "missing, no limit: the baseline's number is missing"),
        (2.0, None, "2, no limit: the baseline's number is missing"),
        (2.0, math.nan, "2, not <= nan"),
    ],
)
def test_value_against_limit(value: float | Huge | None, limit: float | None, words: str) -> None:
    assert measured_text(outcome(value=value, limit=limit)) == words


@pytest.mark.parametrize(("value", "words"), [(0.5, "0.5000 < 1"), (1.0, "1 >= 1"), (Huge(400.0), "1.000e400 >= 1")])
def test_a_lower_limit(value: float | Huge, words: str) -> None:
    assert measured_text(outcome(value=value, limit=1.0, relation=Relation.AT_LEAST)) == words


def test_a_relative_limit_names_the_baseline() -> None:
    assert measured_text(outcome(value=5.5, limit=4.5, baseline=1.5)) == "5.500 > 4.500 (baseline 1.500)"
    assert measured_text(outcome(value=5.5, limit=4.5, baseline=math.nan)).endswith("(baseline nan)")


def test_single_numbers() -> None:
    assert [number_text(one) for one in (0.0, 3.0, 264.61, 1e6, 2e7, -7.0)] == [
        "0", "3", "264.6", "1.000e6", "2.000e7", "-7",
    ]  # fmt: skip
    assert measured_text(outcome(value=None, limit=12.5)) == "missing, limit <= 12.50"


def test_a_sentence_says_what_how_much_where_and_why() -> None:
    words = "spikes.count.nan of loss 3 > 0, logs/run.jsonl:1007 (step 12,040): the loss is NaN"
    assert sentence(nan_outcome()) == words
    assert sentence(outcome(place=None)) == "gain.worst.backward.norm 2 <= 1000, checkpoints/step_100"
    assert place_text(nan_outcome(place=ValuePlace(text="", line=13))) == "logs/run.jsonl:13"


def test_words_are_one_printable_line() -> None:
    for made in EVERY:
        lines = [verdict_text(made()), decision_text(made()), *map(sentence, made().outcomes)]
        lines += [words for one in made().inputs for words in (input_facts(one), *input_remarks(one))]
        assert all(line.isprintable() for line in lines)
    assert "\\x1b" in sentence(nasty().outcomes[0])


@pytest.mark.parametrize(
    ("verdict", "severity", "strict", "expected"),
    [
        (Verdict.PASS, GateSeverity.ERROR, True, Standing.PASSED),
        (Verdict.PASS, GateSeverity.WARNING, False, Standing.PASSED),
        (Verdict.FAIL, GateSeverity.ERROR, False, Standing.FAILED),
        (Verdict.FAIL, GateSeverity.WARNING, False, Standing.WARNED),
        (Verdict.FAIL, GateSeverity.WARNING, True, Standing.FAILED),
        (Verdict.UNJUDGED, GateSeverity.ERROR, False, Standing.UNJUDGED),
        (Verdict.UNJUDGED, GateSeverity.WARNING, False, Standing.WARNED),
        (Verdict.UNJUDGED, GateSeverity.WARNING, True, Standing.UNJUDGED),
    ],
)
def test_warnings_count_under_strict_only(
    verdict: Verdict, severity: GateSeverity, strict: bool, expected: Standing
) -> None:
    assert standing(outcome(verdict=verdict, severity=severity), strict=strict) is expected


def test_the_worst_comes_first_and_nothing_is_lost() -> None:
    ordered = worst_first(failing())
    assert [one.gate for one in ordered] == ["no-nan", "exploded", "ratio", "spread", "max-gain", "blips"]
    assert set(ordered) == set(failing().outcomes)


def test_counts() -> None:
    count = tally(failing())
    assert (count.failed, count.unjudged, count.warned, count.passed, count.unreadable) == (2, 1, 1, 2, 0)
    assert tally_text(failing()) == "2 failed, 1 unjudged, 1 warned, 2 passed"
    assert tally_text(unreadable()) == "1 passed, 1 input unreadable"
    two = report(outcome(), inputs=(broken_input("a"), broken_input("b")))
    assert tally_text(two) == "1 passed, 2 inputs unreadable"
    assert tally_text(nothing_checked()) == "no gate was checked"


def test_the_verdict_in_one_line() -> None:
    assert verdict_text(healthy()) == "PASS: 2 passed; exit code 0"
    assert verdict_text(warning()) == "PASS: 1 warned, 1 passed; exit code 0"
    assert verdict_text(report(nan_outcome(), exit_code=0)) == "FAIL: 1 failed; exit code 0 (--exit-zero)"


def test_what_decided() -> None:
    assert decision_text(healthy()) == "no gate that counts failed"
    assert decision_text(failing()).startswith("no-nan: spikes.count.nan of loss 3 > 0")
    assert decision_text(unjudged()).startswith("no-nan: spikes.count.nan of loss missing, limit <= 0")
    assert decision_text(unreadable()) == "checkpoints/broken could not be read: 4 bytes, shorter than a header"
    assert decision_text(nothing_checked()) == "nothing was checked"


def test_what_decided_where_no_gate_did() -> None:
    assumed = report(outcome(), verdict=Verdict.UNJUDGED, strict=True, inputs=(read_input(verdict=Verdict.UNJUDGED),))
    assert decision_text(assumed) == "checkpoints/step_100 could not be judged as a whole"
    assert decision_text(report(outcome(), verdict=Verdict.UNJUDGED)) == "no single gate"


def test_facts_of_inputs() -> None:
    facts = input_facts(read_input())
    assert facts.startswith("deepseek-v4 (deepseek_v4), 3 sites, 2 streams; inputs random: 31 tokens; ")
    log = read_input("a.jsonl", family=Family.LOG)
    assert input_facts(log) == ("jsonl, 1,009 lines, 1 run; steps 0 to 12,040; loss: 997 points; rule excursions")
    assert input_remarks(log) == ("unreadable: 3 of 997 lines with a loss", "note: a resume at step 500")
    assert input_facts(broken_input(error="")) == "could not be read: no reason known"
    assert input_remarks(broken_input()) == ()


def test_what_is_broken_or_skipped_is_among_the_remarks() -> None:
    broken = gain_result(nonfinite=(NonFinite(site="0.ffn", tensors=("b",), found="3 values are NaN"),))
    remarks = input_remarks(replace(read_input(), result=broken))
    assert remarks[:2] == ("broken: site 0.ffn: 3 values are NaN", "skipped: 2.attn: no bias")


@given(st.text(), st.integers(min_value=7, max_value=31))
def test_shortened_text_keeps_both_ends(words: str, most: int) -> None:
    short = shortened(words, most)
    assert len(short) == min(len(words), most)
    assert words.startswith(short[:2])
    assert words.endswith(short[-2:])
