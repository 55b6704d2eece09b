"""The gate of toy runs."""

import math

import pytest

from mhcdiag.policies.verdicts import judge_toys
from mhcdiag.results.toy import StepRow, ToyRun
from mhcdiag.results.verdict import Verdict


def toy_run(*gains: float, nan_step: int | None = None) -> ToyRun:
    rows = tuple(
        StepRow(step=step, loss=2.0, grad_norm=1.0, learning_rate=0.1, gain_forward=gain, gain_backward=1.0)
        for step, gain in enumerate(gains, 1)
    )
    return ToyRun(path="run", topology="hc", seed=0, rows=rows, nan_step=nan_step, seconds=1.0)


@pytest.mark.parametrize(
    ("gains", "limit", "verdict"),
    [
        ((1.0, 5000.0, 2.0), None, Verdict.PASS),
        ((1.0, 5000.0, 2.0), 5000.0, Verdict.PASS),
        ((1.0, 5000.0, 2.0), 4999.0, Verdict.FAIL),
        ((1.0, math.inf), 1e9, Verdict.FAIL),
        ((), 1e9, Verdict.FAIL),
    ],
)
def test_the_largest_gain_of_a_run_is_judged(gains: tuple[float, ...], limit: float | None, verdict: Verdict):
    assert judge_toys([toy_run(*gains)], max_gain=limit).verdict is verdict


def test_a_run_that_ended_in_nan_fails_a_gate_and_passes_without():
    run = toy_run(1.0, nan_step=7)
    assert judge_toys([run], max_gain=1e9).verdict is Verdict.FAIL
    assert judge_toys([run], max_gain=None).verdict is Verdict.PASS


def test_one_bad_run_fails_all():
    judged = judge_toys([toy_run(1.0), toy_run(2000.0)], max_gain=1000.0)
    assert judged.verdict is Verdict.FAIL
    assert [limit.passed for limit in judged.limits] == [True, True, False, True]


def test_a_run_knows_its_crossing():
    assert toy_run(1.0, 999.0, 1001.0, 2.0).crossing() == 3
    assert toy_run(1.0, 1000.0).crossing() is None
