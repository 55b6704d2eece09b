"""Gains of streams that are not mixed: 1 everywhere, by construction and without computing anything."""

import math

from mhcdiag.mappings.interface import Stack
from mhcdiag.measures.gain import Gains
from mhcdiag.measures.worst import worst_spans
from mhcdiag.results.gain import Curve, CurveKey, Definition, Direction, Kind, Reduction

REDUCTIONS = (Reduction.MEAN, Reduction.P50, Reduction.P99, Reduction.MAX, Reduction.OF_MEAN)


def identity_gains(stack: Stack) -> Gains:
    """The record that measuring identity mappings would give."""
    sites = len(stack.sites)
    ones: Curve = (1.0,) * sites
    curves: dict[CurveKey, Curve] = {
        (kind, direction, definition, reduction): ones
        for kind in Kind
        for direction in Direction
        for definition in Definition
        for reduction in REDUCTIONS
    }
    triangle: tuple[Curve, ...] = tuple((math.nan,) * a + (1.0,) * (sites - a) for a in range(sites))
    spans = {(direction, definition): triangle for direction in Direction for definition in Definition}
    return Gains(
        curves=curves,
        spans=spans,
        worst=worst_spans(spans, stack.sites),
        tokens=1,
        span_tokens=1,
        sinkhorn=None,
        nonfinite_tokens=(0,) * sites,
    )
