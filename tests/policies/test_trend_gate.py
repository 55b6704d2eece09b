"""The gates on a trend: at each limit, just beside it, NaN and infinity in every place."""

import math
from dataclasses import replace

import pytest

from mhcdiag.policies.verdicts import TrendGate, judge_trend
from mhcdiag.reports.trend_console import trend_verdict
from mhcdiag.results.gain import Direction
from mhcdiag.results.numbers import Huge, Number
from mhcdiag.results.trend import (
    Crossing,
    DirectionTrend,
    Growth,
    Source,
    TrendPoint,
    TrendResult,
    qualification_of_trend,
)
from mhcdiag.results.verdict import Skipped, Verdict

FORWARD, BACKWARD = Direction.FORWARD, Direction.BACKWARD
PASS, FAIL, UNJUDGED = Verdict.PASS, Verdict.FAIL, Verdict.UNJUDGED
FALLING = -0.001
"""A rate at which nothing is ever crossed."""


def above(value: float) -> float:
    return math.nextafter(value, math.inf)


def below(value: float) -> float:
    return math.nextafter(value, -math.inf)


def a_trend(
    peak: Number = 2.0, *, rate: float = FALLING, passed: float | None = None, expected: float | None = None
) -> DirectionTrend:
    other = Crossing(name="30", limit=30.0, passed=1.0, expected=None, earliest=None, latest=None)
    crossing = Crossing(name="1000", limit=1000.0, passed=passed, expected=expected, earliest=1.0, latest=None)
    growth = Growth(rate=rate, low=rate, high=rate, points=4, first_step=0.0, last_step=300.0)
    return DirectionTrend(growth=growth, crossings=(other, crossing), newest=peak, peak=peak, peak_step=0.0)


def a_result(
    trend: DirectionTrend, *, direction: Direction = FORWARD, gains: tuple[Number, Number] = (2.0, 2.0)
) -> TrendResult:
    """A run in which one direction has this trend, and the other a harmless one."""
    point = TrendPoint(step=0.0, source="run", gain={FORWARD: gains[0], BACKWARD: gains[1]})
    return TrendResult(
        path="run", source=Source.LOG, points=(point, replace(point, step=300.0)),
        trends={way: trend if way is direction else a_trend() for way in Direction},
        drivers={}, stream_rms=None, log=None, skipped=(), notes=(),
    )  # fmt: skip


def verdict(trend: DirectionTrend, gate: TrendGate) -> Verdict:
    found = {judge_trend(a_result(trend, direction=way), gate).verdict for way in Direction}
    assert len(found) == 1, "both directions are judged alike"
    return found.pop()


def test_the_gate_of_the_command_without_options() -> None:
    assert TrendGate() == TrendGate(max_gain=1000.0, max_doubling_rate=None, no_crossing_before=None, strict=False)


@pytest.mark.parametrize(
    ("peak", "limit", "expected"),
    [
        (1000.0, 1000.0, PASS),
        (below(1000.0), 1000.0, PASS),
        (above(1000.0), 1000.0, FAIL),
        (math.inf, 1000.0, FAIL),
        (Huge(400.0), 1e308, FAIL),
        (math.nan, 1e308, FAIL),
        (math.nan, math.inf, FAIL),
        (math.nan, None, PASS),
    ],
)
def test_the_peak_passes_up_to_its_limit(peak: Number, limit: float | None, expected: Verdict) -> None:
    assert verdict(a_trend(peak), TrendGate(max_gain=limit)) is expected


ONE = math.log(2) / 1000
"""The rate of one doubling in 1000 steps."""


@pytest.mark.parametrize(
    ("rate", "limit", "expected"),
    [
        (ONE, 1.0, PASS),
        (ONE, below(1.0), FAIL),
        (ONE * 1.000001, 1.0, FAIL),
        (2 * ONE, 2.0, PASS),
        (0.0, 0.0, PASS),
        (-ONE, 0.0, PASS),
        (math.inf, 1.0, FAIL),
        (math.nan, 1.0, FAIL),
        (math.nan, math.inf, FAIL),
        (math.nan, None, PASS),
    ],
)
def test_the_rate_passes_up_to_its_limit_and_nan_never(rate: float, limit: float | None, expected: Verdict) -> None:
    assert verdict(a_trend(rate=rate), TrendGate(max_gain=None, max_doubling_rate=limit)) is expected


@pytest.mark.parametrize(
    ("passed", "projected", "limit", "expected"),
    [
        (None, 5000.0, 5000.0, PASS),
        (None, below(5000.0), 5000.0, FAIL),
        (None, above(5000.0), 5000.0, PASS),
        (5000.0, None, 5000.0, PASS),
        (below(5000.0), None, 5000.0, FAIL),
        (0.0, 9000.0, 5000.0, FAIL),  # step 0 is a step
        (None, None, 5000.0, PASS),
        (None, None, math.inf, PASS),
        (None, 4000.0, None, PASS),
    ],
)
def test_a_crossing_passes_from_its_limit_on(
    passed: float | None, projected: float | None, limit: float | None, expected: Verdict
) -> None:
    trend = a_trend(rate=ONE, passed=passed, expected=projected)
    assert verdict(trend, TrendGate(max_gain=None, no_crossing_before=limit)) is expected


@pytest.mark.parametrize("rate", [math.nan, math.inf, -math.inf])
def test_without_a_finite_rate_no_crossing_is_excluded(rate: float) -> None:
    assert verdict(a_trend(rate=rate), TrendGate(max_gain=None, no_crossing_before=1.0)) is FAIL


def test_a_projection_that_is_nan_is_no_pass() -> None:
    trend = a_trend(rate=ONE, expected=math.nan)
    assert verdict(trend, TrendGate(max_gain=None, no_crossing_before=1.0)) is FAIL


def test_every_limit_is_reported_with_its_number() -> None:
    trend = a_trend(2000.0, rate=3 * ONE, expected=7000.0)
    gate = TrendGate(max_gain=1000.0, max_doubling_rate=4.0, no_crossing_before=8000.0)
    judged = judge_trend(a_result(trend), gate)
    found = {one.metric: (one.value, one.limit, one.passed) for one in judged.limits}
    assert found == {
        "forward.peak": (2000.0, 1000.0, False),
        "forward.doublings_per_1000_steps": (pytest.approx(3.0), 4.0, True),
        "forward.crossing": (7000.0, 8000.0, False),
        "backward.peak": (2.0, 1000.0, True),
        "backward.doublings_per_1000_steps": (pytest.approx(FALLING / ONE), 4.0, True),
        "backward.crossing": (math.inf, 8000.0, True),
    }
    assert (judged.verdict, judged.reason) == (FAIL, "forward.peak is outside its limit")


@pytest.mark.parametrize(
    ("gains", "judged"),
    [
        ((2.0, 2.0), ["forward.peak", "backward.peak"]),
        ((2.0, math.nan), ["forward.peak"]),
        ((math.nan, 2.0), ["backward.peak"]),
        ((math.nan, math.nan), ["forward.peak", "backward.peak"]),
        ((Huge(400.0), math.nan), ["forward.peak"]),
        ((math.inf, math.nan), ["forward.peak"]),
    ],
)
def test_a_direction_that_a_log_does_not_carry_is_left_out_unless_it_carries_neither(
    gains: tuple[Number, Number], judged: list[str]
) -> None:
    found = judge_trend(a_result(a_trend(), gains=gains), TrendGate())
    assert [one.metric for one in found.limits] == judged


def test_one_number_among_nan_makes_a_direction_judged() -> None:
    result = a_result(a_trend(math.nan), direction=BACKWARD, gains=(2.0, math.nan))
    first, last = result.points
    result = replace(result, points=(first, replace(last, gain={FORWARD: 2.0, BACKWARD: 2.0})))
    assert judge_trend(result, TrendGate()).verdict is FAIL


@pytest.mark.parametrize(
    ("strict", "skipped", "peak", "expected"),
    [
        (True, 1, 2.0, UNJUDGED),
        (False, 1, 2.0, PASS),
        (True, 0, 2.0, PASS),
        (True, 1, 2000.0, FAIL),
    ],
)
def test_strict_leaves_skipped_checkpoints_unjudged_but_never_hides_a_failure(
    strict: bool, skipped: int, peak: float, expected: Verdict
) -> None:
    result = replace(a_result(a_trend(peak)), skipped=(Skipped(what="step_3", reason="broken"),) * skipped)
    judged = judge_trend(result, TrendGate(strict=strict))
    assert judged.verdict is expected
    if expected is UNJUDGED:
        assert judged.reason == "--strict, and 1 checkpoint(s) were skipped"


def run_of(*points: TrendPoint, source: Source = Source.CHECKPOINTS) -> TrendResult:
    """A run of such checkpoints whose gains are 1."""
    return replace(a_result(a_trend(1.0)), points=points, source=source, path="runs/a b")


def step(bound: float | None, sampled: str = "random inputs") -> TrendPoint:
    ones = {FORWARD: 1.0, BACKWARD: 1.0}
    return TrendPoint(step=1.0, source="x", gain=ones, bound={FORWARD: 1.0, BACKWARD: bound}, sampled=sampled)


SAMPLED_RUN = "measure real tokens with `mhcdiag trend 'runs/a b' --inputs text`"


@pytest.mark.parametrize(
    ("points", "evidence", "words"),
    [
        ((step(4.0), step(900.0)), "certified", ""),
        ((step(4.0), step(5.3e4)), "sampled", f"on random inputs only: bound 5.3e4 > 1000; {SAMPLED_RUN}"),
        ((step(None), step(4.0)), "sampled", f"on random inputs only: no bound; {SAMPLED_RUN}"),
        ((step(None, ""), step(4.0)), "measured", ""),
        ((step(None, ""), step(None)), "sampled", f"on random inputs only: no bound; {SAMPLED_RUN}"),
        ((step(4.0), step(None, "")), "measured", ""),
    ],
)
def test_a_run_rests_on_the_weakest_of_its_checkpoints(points, evidence: str, words: str):
    judged = judge_trend(run_of(*points), TrendGate())
    of_way = {limit.metric: limit.evidence for limit in judged.limits}
    assert of_way == {"forward.peak": "certified", "backward.peak": evidence}
    assert qualification_of_trend(judged.result, judged.limits) == words
    line = trend_verdict(judged, "runs/a b").plain
    assert line.startswith(f"PASS {words}  runs/a b" if words else "PASS  runs/a b")
    strict = judge_trend(run_of(*points), TrendGate(strict=True))
    assert strict.verdict is (Verdict.UNJUDGED if words else Verdict.PASS)
    assert judge_trend(run_of(*points), TrendGate(strict=True, max_gain=0.5)).verdict is Verdict.FAIL


def test_of_the_gains_of_a_log_nothing_is_known_but_that_they_were_logged():
    judged = judge_trend(run_of(step(4.0), step(8e6), source=Source.LOG), TrendGate(strict=True))
    assert judged.verdict is Verdict.PASS
    assert {limit.evidence for limit in judged.limits} == {None}
