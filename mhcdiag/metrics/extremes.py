"""The one of many numbers that a limit is about, failing closed on NaN."""

import math
from collections.abc import Sequence

from mhcdiag.results.check import Relation
from mhcdiag.results.numbers import Huge, Number


def extreme(numbers: Sequence[Number], relation: Relation) -> int:
    """Return the index of the number that decides: a NaN if there is one, else the largest (or smallest).

    Arguments: numbers: at least one; relation: of the limit. `max` of Python would drop a NaN that does not come first.
    """
    for index, number in enumerate(numbers):
        if not isinstance(number, Huge) and math.isnan(number):
            return index
    pick = max if relation is Relation.AT_MOST else min
    return pick(range(len(numbers)), key=numbers.__getitem__)
