import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mhcdiag.plots.site_axis import site_positions


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
