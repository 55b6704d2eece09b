"""The gain gate, table by table: limit, just above, infinity, NaN, strict, bound."""

import math
from dataclasses import replace

import pytest
import torch
from stacks import captured_tensors, write

import mhcdiag
from mhcdiag.policies.verdicts import GateOn, judge_gain
from mhcdiag.results.gain import Definition, Direction, NonFinite
from mhcdiag.results.numbers import Huge
from mhcdiag.results.verdict import Skipped, Verdict, combine


@pytest.fixture
def result(tmp_path) -> mhcdiag.GainResult:
    """Measured: of 128 real tokens of a step, so that nothing but what a test changes is in doubt."""
    maps = captured_tensors(torch.eye(2).repeat(2, 128, 1, 1))
    return mhcdiag.gain(write(tmp_path, maps, metadata={"tied_to": "step 160"}))


def with_worst(result: mhcdiag.GainResult, direction: Direction, value: object) -> mhcdiag.GainResult:
    key = (direction, Definition.NORM)
    return replace(result, worst={**result.worst, key: replace(result.worst[key], value=value)})


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (1.0, Verdict.PASS),
        (1000.0, Verdict.PASS),
        (math.nextafter(1000.0, math.inf), Verdict.FAIL),
        (math.inf, Verdict.FAIL),
        (math.nan, Verdict.FAIL),
        (Huge(400.0), Verdict.FAIL),
    ],
)
def test_either_direction_decides(result: mhcdiag.GainResult, direction: Direction, value: object, verdict: Verdict):
    judged = judge_gain(with_worst(result, direction, value))
    assert judged.verdict is verdict
    assert [limit.passed for limit in judged.limits].count(False) == (verdict is Verdict.FAIL)
    assert {limit.metric for limit in judged.limits} == {"worst.forward.norm", "worst.backward.norm"}


def test_a_broken_site_fails_under_any_limit(result: mhcdiag.GainResult):
    broken = NonFinite(site="0.ffn", tensors=("t",), found="1 value is NaN")
    judged = judge_gain(replace(result, nonfinite=(broken,)), max_gain=math.inf)
    assert judged.verdict is Verdict.FAIL
    assert judged.limits[0].metric == "nonfinite"
    assert judged.reason == "site 0.ffn: 1 value is NaN"


@pytest.mark.parametrize("change", [{"assumed": ("a",)}, {"skipped": (Skipped(what="w", reason="r"),)}])
def test_strict_leaves_doubt_unjudged_but_never_hides_a_failure(result: mhcdiag.GainResult, change: dict):
    doubtful = replace(result, **change)
    assert judge_gain(doubtful).verdict is Verdict.PASS
    assert judge_gain(doubtful, strict=True).verdict is Verdict.UNJUDGED
    assert judge_gain(doubtful, strict=True, max_gain=0.5).verdict is Verdict.FAIL
    assert judge_gain(result, strict=True).verdict is Verdict.PASS


def test_excluded_tensors_are_no_doubt(result: mhcdiag.GainResult):
    assert judge_gain(replace(result, excluded=("hc_head_fn",)), strict=True).verdict is Verdict.PASS


def test_a_bound_that_does_not_exist_is_no_pass(result: mhcdiag.GainResult):
    judged = judge_gain(result, gate_on=GateOn.BOUND)
    assert judged.verdict is Verdict.UNJUDGED
    assert "there is no bound to judge" in judged.reason


def test_the_bound_is_judged_when_asked_for(result: mhcdiag.GainResult):
    bounded = replace(result, bound={d: replace(result.bound[d], worst=4.0) for d in Direction})
    assert judge_gain(bounded, gate_on=GateOn.BOUND, max_gain=4.0).verdict is Verdict.PASS
    judged = judge_gain(bounded, gate_on=GateOn.BOUND, max_gain=3.9)
    assert judged.verdict is Verdict.FAIL
    assert judged.limits[0].metric == "bound.forward.worst"


@pytest.mark.parametrize(
    ("several", "together"),
    [
        ([Verdict.PASS, Verdict.PASS], Verdict.PASS),
        ([Verdict.PASS, Verdict.UNJUDGED], Verdict.UNJUDGED),
        ([Verdict.UNJUDGED, Verdict.FAIL, Verdict.PASS], Verdict.FAIL),
        ([], Verdict.UNJUDGED),
    ],
)
def test_several_inputs(several: list[Verdict], together: Verdict):
    assert combine(several) is together
