"""Rows are those of Python's slices, but contiguous."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mhcdiag.namedtensors import row_range

ends = st.none() | st.integers(-9, 9)


@settings(deadline=None)
@given(length=st.integers(0, 7), start=ends, stop=ends)
def test_rows_are_those_of_a_list(length: int, start: int | None, stop: int | None) -> None:
    rows = slice(start, stop)
    chosen = row_range((length, 3), rows)
    assert list(chosen) == list(range(length))[rows]
    assert 0 <= chosen.start <= chosen.stop <= length


def test_a_scalar_has_no_rows() -> None:
    with pytest.raises(ValueError, match="a scalar has no rows"):
        row_range((), slice(0, 1))


@pytest.mark.parametrize("step", [2, -1])
def test_a_step_is_a_mistake(step: int) -> None:
    with pytest.raises(ValueError, match=f"rows must be contiguous, not every {step}th"):
        row_range((7,), slice(None, None, step))
