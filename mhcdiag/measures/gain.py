"""Gains of a stack of residual mappings: single, prefix, suffix and worst composite, forward and backward."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mhcdiag.kernels.spans import span_sums
from mhcdiag.mappings.interface import CHUNK_TOKENS, MapSource
from mhcdiag.measures.reductions import CurveReductions
from mhcdiag.measures.sinkhorn import SinkhornResiduals
from mhcdiag.measures.worst import worst_spans
from mhcdiag.results.gain import Curve, CurveKey, Direction, Kind, Matrix, Reduction, SinkhornQuality, Span, SpanKey

SPAN_TOKENS = 1024
"""Largest number of tokens that all spans are computed for; evenly spaced over all tokens where there are more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gains:
    """What was measured, before it is joined with where it came from."""

    curves: dict[CurveKey, Curve]
    spans: dict[SpanKey, tuple[Curve, ...]]
    worst: dict[SpanKey, Span]
    tokens: int
    span_tokens: int
    sinkhorn: SinkhornQuality | None
    nonfinite_tokens: tuple[int, ...]
    """Per site, the number of tokens whose mapping holds NaN or infinity."""
    mean_mappings: tuple[Matrix, ...] = ()
    mean_composite: Matrix = ()


def measure_gains(
    source: MapSource,
    *,
    exact_side: Direction | None,
    first_tokens: Sequence[int] = (),
    dtype: torch.dtype = torch.float64,
    device: str = "cpu",
) -> Gains:
    """Measure all gains of a stack.

    Parameters
    ----------
    source
        The mappings.
    exact_side
        The direction whose sums a Sinkhorn iteration made 1; None where there was none.
    first_tokens
        Positions of the tokens that begin a sequence; the mean without them is then reported beside the mean.
    dtype
        Element type of the products.
    device
        Where to compute them.
    """
    tokens = source.tokens
    reductions = CurveReductions(tokens=tokens, first_tokens=first_tokens)
    residuals = None if exact_side is None else SinkhornResiduals(exact_side)
    picked = _evenly_spaced(tokens, SPAN_TOKENS)
    samples: list[Tensor] = []
    broken = torch.zeros(len(source.stack.sites), dtype=torch.long)
    for start in range(0, tokens, CHUNK_TOKENS):
        stop = min(start + CHUNK_TOKENS, tokens)
        maps = source.chunk(start, stop, device=device).to(dtype)
        broken += (~maps.isfinite()).any(dim=1).any(dim=1).sum(dim=-1).cpu()
        reductions.add(maps, start=start)
        if residuals is not None:
            residuals.add(maps)
        inside = picked[(picked >= start) & (picked < stop)] - start
        samples.append(maps if len(inside) == stop - start else maps[..., inside.to(maps.device)])
    curves = reductions.curves()
    spans = _spans(torch.cat(samples, dim=-1), curves)
    return Gains(
        curves=curves,
        spans=spans,
        worst=worst_spans(spans, source.stack.sites),
        tokens=tokens,
        span_tokens=len(picked),
        sinkhorn=None if residuals is None else residuals.quality(),
        nonfinite_tokens=tuple(broken.tolist()),
        mean_mappings=reductions.mean_matrices(Kind.SINGLE),
        mean_composite=reductions.mean_matrices(Kind.PREFIX)[-1],
    )


def _evenly_spaced(tokens: int, most: int) -> Tensor:
    wanted = min(tokens, most)
    return torch.arange(wanted) * tokens // wanted


def _spans(
    maps: Float[Tensor, "site stream stream token"], curves: dict[CurveKey, Curve]
) -> dict[SpanKey, tuple[Curve, ...]]:
    """Token means over all spans; where a curve covers the same span with all tokens, its mean stands instead."""
    found: dict[SpanKey, tuple[Curve, ...]] = {}
    for key, sums in span_sums(maps).items():
        matrix = [list((sums[a] / maps.shape[-1]).numbers()) for a in range(maps.shape[0])]
        for l, single in enumerate(curves[Kind.SINGLE, *key, Reduction.MEAN]):  # noqa: E741 - l is the papers' site index
            matrix[l][l] = single
        matrix[0] = list(curves[Kind.PREFIX, *key, Reduction.MEAN])
        for row, suffix in zip(matrix, curves[Kind.SUFFIX, *key, Reduction.MEAN], strict=True):
            row[-1] = suffix
        found[key] = tuple(tuple(row) for row in matrix)
    return found
