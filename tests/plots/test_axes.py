import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mhcdiag.plots.axes import CALM, exponents, log_limits, log_ticks, site_positions
from mhcdiag.results.numbers import Huge

LOGS = st.floats(min_value=-300, max_value=1e5)


@given(low=st.floats(min_value=-300, max_value=0), high=st.floats(min_value=math.log10(1.1), max_value=1e5))
def test_any_axis_has_a_few_labelled_ticks_in_order_within_its_limits(low, high):
    ticks = log_ticks(low, high)
    assert 2 <= len(ticks.major) <= 10
    assert list(ticks.major) == sorted(set(ticks.major))
    assert all(low - 1e-9 <= at <= high + 1e-9 for at in (*ticks.major, *ticks.minor))
    assert len(set(ticks.labels)) == len(ticks.labels) == len(ticks.major)
    assert len(ticks.minor) < 80


@given(low=st.floats(min_value=-2, max_value=0), high=st.floats(min_value=math.log10(1.1), max_value=2))
def test_plain_labels_are_the_gains_at_their_ticks(low, high):
    ticks = log_ticks(low, high)
    for at, label in zip(ticks.major, ticks.labels, strict=True):
        gain = float(label) if "$" not in label else 10.0 ** int(label.removeprefix("$10^{").removesuffix("}$"))
        assert gain == pytest.approx(10**at, rel=1e-5)


def test_decades_have_small_ticks_where_there_is_room():
    assert log_ticks(0.0, 3.2).minor[:2] == pytest.approx([math.log10(2), math.log10(3)])
    assert 1.0 in log_ticks(0.0, 15.0).minor
    assert log_ticks(0.0, 4880.0).minor == ()


@given(st.lists(LOGS, min_size=1))
def test_limits_hold_all_curves_and_the_gain_1(logs):
    curve = tuple(Huge(log) if log >= 308 else 10.0**log for log in logs)
    low, high = log_limits([curve])
    assert low <= CALM[0] or low < 0
    assert all(low <= log <= high for log in (0.0, *exponents(curve)))
    assert high - low >= 0.04


def test_numbers_without_a_logarithm_leave_gaps():
    assert all(math.isnan(log) for log in exponents((math.nan, math.inf, 0.0)))
    assert log_limits([(math.nan, math.inf, 0.0)]) == CALM


@given(sites=st.integers(1, 3000), most=st.integers(1, 21))
def test_first_and_last_site_are_named_and_ticks_do_not_crowd(sites, most):
    positions = site_positions(sites, most=most)
    assert (positions[0], positions[-1]) == (1, sites)
    assert positions == sorted(set(positions))
    assert len(positions) <= max(2, most)
    gaps = [b - a for a, b in itertools.pairwise(positions)]
    assert all(gap >= 0.45 * max(gaps) for gap in gaps)


@pytest.mark.parametrize(
    ("sites", "positions"),
    [(1, [1]), (2, [1, 2]), (60, [1, 10, 20, 30, 40, 50, 60]), (61, [1, 20, 40, 61]), (86, [1, 20, 40, 60, 86])],
)
def test_round_numbers_between(sites, positions):
    assert site_positions(sites, most=7) == positions
