"""The number that decides among several."""

import math

import pytest

from mhcdiag.metrics.interface import extreme
from mhcdiag.results.numbers import Huge, Number
from mhcdiag.results.verdict import Relation


@pytest.mark.parametrize(
    ("numbers", "largest", "smallest"),
    [
        ([2.0], 0, 0),
        ([1.0, 3.0, 2.0], 1, 0),
        ([3.0, 3.0, 1.0, 1.0], 0, 2),  # the first of equal ones
        ([-1.0, -3.0], 0, 1),
        ([1.0, math.inf, -math.inf], 1, 2),
        ([Huge(400.0), 1.0, Huge(401.0)], 2, 1),
        ([math.inf, Huge(400.0)], 1, 0),  # above every float
        ([Huge(400.0), Huge(399.0)], 0, 1),
        ([math.nan, 1.0], 0, 0),
        ([1.0, math.nan, 9.0, math.nan], 1, 1),
        ([Huge(400.0), math.nan], 1, 1),
        ([math.inf, math.nan, -math.inf], 1, 1),
    ],
)
def test_nan_decides_else_the_end_that_the_limit_is_about(numbers: list[Number], largest: int, smallest: int) -> None:
    assert extreme(numbers, Relation.AT_MOST) == largest
    assert extreme(numbers, Relation.AT_LEAST) == smallest
