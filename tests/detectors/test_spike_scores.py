"""Shares of flagged points, over all runs."""

import numpy as np
import pytest
from detectors.builders import NAN, alternating

from mhcdiag.detectors.published import SpikeScores


def scores(*runs: np.ndarray) -> tuple[float, float]:
    found = SpikeScores()
    for run in runs:
        found.new_run()
        found.feed(run[:100])
        found.feed(run[100:])
    score = found.score()
    return score.olmo2, score.olmo_core


def test_the_share_of_flagged_points() -> None:
    run = np.concatenate([alternating(0.0, 1.0, 1000), [-9.0, 9.0, 20.0]])
    assert scores(run) == (3 / 1003, 2 / 1003)


@pytest.mark.parametrize(("count", "known"), [(127, False), (128, False), (129, True)])
def test_without_a_full_window_there_is_no_score(count: int, known: bool) -> None:
    assert repr(scores(alternating(0.0, 1.0, count))) == repr((NAN, 0.0 if known else NAN))


def test_the_window_of_a_run_does_not_reach_into_the_next() -> None:
    short = alternating(0.0, 1.0, 100)
    assert repr(scores(short, short)) == repr((NAN, NAN))
    first = alternating(0.0, 1.0, 140)
    assert repr(scores(first, np.full(60, 99.0))) == repr((NAN, 0.0))
    assert repr(scores(first, np.concatenate([first, [99.0]]))) == repr((NAN, 1 / 281))


def test_each_run_fills_its_own_window_of_a_thousand() -> None:
    first = alternating(0.0, 1.0, 1001)
    assert scores(first, np.full(60, 99.0)) == (0.0, 0.0)
    assert scores(np.concatenate([first, [99.0]])) == (1 / 1002, 1 / 1002)
