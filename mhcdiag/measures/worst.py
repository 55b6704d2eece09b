"""The stretch of sites that amplifies most."""

import math
from collections.abc import Mapping, Sequence

from mhcdiag.results.gain import Curve, Span, SpanKey
from mhcdiag.results.numbers import Number, is_finite, log10_of

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
    pairs = [(b - a, a, b) for a in range(len(sites)) for b in range(a, len(sites))]
    broken = [pair for pair in pairs if not is_finite(spans[pair[1]][pair[2]])]
    if broken:
        _, a, b = min(broken)
        return Span(value=spans[a][b], from_site=sites[a], to_site=sites[b])
    largest = max(log10_of(spans[a][b]) for _, a, b in pairs)
    close = largest - TIE / math.log(10) if math.isfinite(largest) else largest
    value: Number = max(spans[a][b] for _, a, b in pairs)
    _, a, b = min(pair for pair in pairs if log10_of(spans[pair[1]][pair[2]]) >= close)
    return Span(value=value, from_site=sites[a], to_site=sites[b])


def worst_spans(spans: Mapping[SpanKey, Sequence[Curve]], sites: Sequence[str]) -> dict[SpanKey, Span]:
    """`worst_span` per direction and definition."""
    return {key: worst_span(matrix, sites) for key, matrix in spans.items()}
