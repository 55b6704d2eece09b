"""The gate of `mhcdiag toy`: off by default, since a toy that explodes has done what it is for."""

from collections.abc import Sequence

from mhcdiag.results.numbers import within
from mhcdiag.results.toy import JudgedToys, ToyRun
from mhcdiag.results.verdict import Limit, Verdict


def judge_toys(runs: Sequence[ToyRun], *, max_gain: float | None) -> JudgedToys:
    """Hold the largest measured gain of every run against a limit; a run that ended in NaN fails.

    Arguments: max_gain: the limit; None judges nothing, and passes.
    """
    if max_gain is None:
        return JudgedToys(verdict=Verdict.PASS, limits=())
    limits = [
        Limit(
            metric=f"{run.topology}.gain_{direction}",
            value=run.largest_gain(direction),
            limit=max_gain,
            passed=within(run.largest_gain(direction), max_gain),
        )
        for run in runs
        for direction in ("forward", "backward")
    ]
    limits += [
        Limit(metric=f"{run.topology}.nan_step", value=float(run.nan_step), limit=0.0, passed=False)
        for run in runs
        if run.nan_step is not None
    ]
    passed = all(limit.passed for limit in limits)
    return JudgedToys(verdict=Verdict.PASS if passed else Verdict.FAIL, limits=tuple(limits))
