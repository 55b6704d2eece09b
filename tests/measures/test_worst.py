"""Which stretch of sites is named the worst."""

from math import inf, nan

import pytest

from mhcdiag.measures.gain import worst_span
from mhcdiag.results.numbers import Huge

SITES = ("a", "b", "c")


def worst(aa, ab, ac, bb, bc, cc):
    """The worst of these spans; what stands below the diagonal counts for nothing."""
    span = worst_span(((aa, ab, ac), (inf, bb, bc), (nan, 1e9, cc)), SITES)
    return span.value, span.from_site, span.to_site


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ((1.0, 2.0, 3.0, 4.0, 9.0, 6.0), (9.0, "b", "c")),
        ((1.0, 2.0, 3.0, 2.0, 3.0, 1.0), (3.0, "b", "c")),  # of equal ones the shortest
        ((3.0, 3.0, 3.0, 3.0, 3.0, 3.0), (3.0, "a", "a")),  # then the first
        ((1.0, 3.0, 1.0, 1.0, 3.0, 1.0), (3.0, "a", "b")),
        ((1.0, 1.0, 1.0 + 5e-13, 1.0, 1.0, 1.0), (1.0 + 5e-13, "a", "a")),  # equal but for rounding
        ((1.0, 1.0, 1.0 + 4e-12, 1.0, 1.0, 1.0), (1.0 + 4e-12, "a", "c")),
        ((Huge(400.0), 1.0, Huge(400.5), 1e300, 1.0, 1.0), (Huge(400.5), "a", "c")),
        ((1.0, Huge(400.0), Huge(400.0), 1.0, Huge(400.0), 1.0), (Huge(400.0), "a", "b")),
        ((1.0, nan, nan, 9.0, nan, 1.0), (nan, "a", "b")),  # the shortest broken one, then the first
        ((1.0, nan, nan, 9.0, inf, inf), (inf, "c", "c")),
    ],
)
def test_the_worst_span(cells, expected):
    value, first, last = worst(*cells)
    assert (first, last) == expected[1:]
    assert str(value) == str(expected[0])  # NaN too
