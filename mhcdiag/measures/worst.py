"""The stretch of sites that amplifies most."""

from collections.abc import Mapping, Sequence

from mhcdiag.results.gain import Curve, Span, SpanKey
from mhcdiag.results.numbers import Huge, Number, is_finite

TIE = 1e-12
"""Relative difference below which two spans count as equally bad: rounding must not decide which one is named."""


def worst_span(spans: Sequence[Curve], sites: Sequence[str]) -> Span:
    """The largest of all P(a,b); of equal ones the shortest, then the first.

    Parameters
    ----------
    spans
        Row a, entry b: token mean of the gain of P(a,b); entries below the diagonal are ignored.
    sites
        Names of the sites.
    """
    cells = [(row[b], b - a, a) for a, row in enumerate(spans) for b in range(a, len(sites))]
    broken = [(length, a) for value, length, a in cells if not is_finite(value)]
    if broken:
        length, a = min(broken)
        return Span(value=spans[a][a + length], from_site=sites[a], to_site=sites[a + length])
    largest: Number = max(value for value, _, _ in cells)
    close = Huge(largest.log10 - TIE) if isinstance(largest, Huge) else largest * (1 - TIE)
    length, a = min((length, a) for value, length, a in cells if value >= close)
    return Span(value=largest, from_site=sites[a], to_site=sites[a + length])


def worst_spans(spans: Mapping[SpanKey, Sequence[Curve]], sites: Sequence[str]) -> dict[SpanKey, Span]:
    """`worst_span` per direction and definition."""
    return {key: worst_span(matrix, sites) for key, matrix in spans.items()}
