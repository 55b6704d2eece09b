"""The one judgement under every gate: on which side of a limit a value is, and what limits and doubt say together."""

import math

import pytest

from mhcdiag.results.numbers import Huge, Number
from mhcdiag.results.verdict import Limit, Relation, Verdict, combine, holds, judged


@pytest.mark.parametrize(
    ("value", "at_most", "at_least"),
    [
        (30.0, True, True),
        (math.nextafter(30.0, math.inf), False, True),
        (math.nextafter(30.0, 0), True, False),
        (math.inf, False, True),
        (-math.inf, True, False),
        (Huge(308.5), False, True),
        (math.nan, False, False),
    ],
)
def test_a_value_at_the_limit_passes_and_nan_never_does(value: Number, at_most: bool, at_least: bool) -> None:
    assert holds(value, Relation.AT_MOST, 30.0) is at_most
    assert holds(value, Relation.AT_LEAST, 30.0) is at_least
    assert Limit.on("m", value, 30.0).passed is at_most
    assert Limit.on("m", value, 30.0, relation=Relation.AT_LEAST).passed is at_least


@pytest.mark.parametrize("relation", list(Relation))
def test_nothing_passes_a_limit_that_is_nan(relation: Relation) -> None:
    assert not holds(1.0, relation, math.nan)


def test_an_infinite_limit_lets_no_number_beyond_float64_pass() -> None:
    assert holds(math.inf, Relation.AT_MOST, math.inf)
    assert not holds(Huge(400.0), Relation.AT_MOST, math.inf)


PASSED, FAILED = Limit.on("a", 1.0, 2.0), Limit.on("b", 3.0, 2.0)


@pytest.mark.parametrize(
    ("limits", "doubt", "verdict"),
    [
        ([], "", Verdict.PASS),
        ([], "why", Verdict.UNJUDGED),
        ([PASSED, PASSED], "", Verdict.PASS),
        ([PASSED], "why", Verdict.UNJUDGED),
        ([PASSED, FAILED], "", Verdict.FAIL),
        ([FAILED, PASSED], "why", Verdict.FAIL),
    ],
)
def test_a_failed_limit_wins_over_doubt_and_doubt_over_a_pass(
    limits: list[Limit], doubt: str, verdict: Verdict
) -> None:
    assert judged(limits, doubt=doubt) is verdict


@pytest.mark.parametrize(
    ("verdicts", "together"),
    [
        ([], Verdict.UNJUDGED),
        ([Verdict.PASS], Verdict.PASS),
        ([Verdict.PASS, Verdict.UNJUDGED], Verdict.UNJUDGED),
        ([Verdict.UNJUDGED, Verdict.FAIL, Verdict.PASS], Verdict.FAIL),
    ],
)
def test_one_verdict_for_several_inputs(verdicts: list[Verdict], together: Verdict) -> None:
    assert combine(verdicts) is together
