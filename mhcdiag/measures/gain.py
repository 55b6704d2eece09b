"""Gains of a stack of residual mappings: single, prefix, suffix and worst composite, forward and backward.

The gain magnitude of arXiv 2512.24880, section 3.1: max |row sum| forward and max |column sum| backward of each P(a,b),
per token, then reduced over tokens.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import torch
from jaxtyping import Float
from torch import Tensor

from mhcdiag.errors import MhcdiagError, RankError
from mhcdiag.kernels.composite.dispatch import choose_kernel
from mhcdiag.kernels.composite.interface import Kernel
from mhcdiag.kernels.composite.reference import span_sums
from mhcdiag.mappings.diagonal import DiagonalGains, SiteFactors, diagonal_gains
from mhcdiag.mappings.interface import CHUNK_TOKENS, MapSource, Stack
from mhcdiag.mappings.parametric import StaticMaps
from mhcdiag.measures.chunks import ChunkMeasurer, ChunkSums
from mhcdiag.measures.reductions import TokenQuantiles, curves, mean_matrices
from mhcdiag.ranks import Alone, Ranks
from mhcdiag.results.gain import (
    Bound,
    Curve,
    CurveKey,
    Definition,
    Direction,
    Kind,
    Matrix,
    Reduction,
    SinkhornQuality,
    SpanKey,
    WorstSpan,
)
from mhcdiag.results.numbers import Huge, Number, is_finite

SPAN_TOKENS = 1024
"""Largest number of tokens that all spans are computed for, evenly spaced over all tokens where there are more: the
number of spans grows as the square of that of sites, 7503 for 122."""

ROUND = 16
"""Chunks that each of several ranks measures before they are collected: ranks wait for each other once a round, and
memory does not grow with the number of rounds."""

TIE = 1e-12
"""Relative difference below which two spans count as equally bad: rounding must not decide which one is named."""

# All but the mean without first tokens, which only inputs with sequences have.
_REDUCTIONS = (Reduction.MEAN, Reduction.P50, Reduction.P99, Reduction.MAX, Reduction.OF_MEAN)

SampledMaps = Float[Tensor, "site stream stream token"]
"""H_res of the tokens that all spans are computed for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gains:
    """What was measured, before it is joined with where it came from."""

    curves: dict[CurveKey, Curve]
    spans: dict[SpanKey, tuple[Curve, ...]]
    worst: dict[SpanKey, WorstSpan]
    tokens: int
    span_tokens: int
    sinkhorn: SinkhornQuality | None
    nonfinite_tokens: tuple[int, ...]
    """Per site, the number of tokens whose mapping holds NaN or infinity."""
    mean_mappings: tuple[Matrix, ...] = ()
    """Per site, the token mean of H_res."""
    mean_composite: Matrix = ()
    """Token mean of the composite of all sites."""
    kernel: str = "none"
    """Name of the implementation that computed them, or names, joined by "and"."""
    piece: int = CHUNK_TOKENS
    """Tokens that fitted into memory at once; less than `CHUNK_TOKENS` only where memory ran out."""


def measure_gains(
    source: MapSource,
    *,
    exact_side: Direction | None,
    first_tokens: Sequence[int] = (),
    dtype: torch.dtype = torch.float64,
    device: str = "cpu",
    ranks: Ranks | None = None,
) -> Gains:
    """Measure all gains of a stack.

    Tokens are cut into chunks of 4096, whose float64 sums are added in the order of the chunks: the numbers depend
    neither on the number of ranks nor on that of threads.

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
    ranks
        The processes that share the work, all of which call this; None for this one alone.
    """
    ranks = ranks or Alone()
    stack, tokens = source.stack, source.tokens
    kernel = choose_kernel(device=device, streams=stack.streams, matrices=len(stack.sites) * tokens, dtype=dtype)
    measurer = ChunkMeasurer(
        source=source,
        kernel=kernel,
        quantiles=TokenQuantiles(tokens, kernel),
        exact_side=exact_side,
        first_tokens=tuple(first_tokens),
        picked=_evenly_spaced(tokens, SPAN_TOKENS),
        dtype=dtype,
        device=device,
    )
    total, samples = _measure_chunks(measurer, ranks)
    quantiles = ranks.gather(measurer.quantiles.kinds)
    found = None
    if total is not None:
        found = curves(total.kinds, quantiles, kernel, tokens=tokens, first_tokens=len(measurer.first_tokens))
    return ranks.share(None if total is None or found is None else _joined(measurer, total, found, samples))


def _measure_chunks(measurer: ChunkMeasurer, ranks: Ranks) -> tuple[ChunkSums | None, SampledMaps]:
    """All chunks, shared among ranks in turn; the sums of all of them in order, and samples, on rank 0."""
    stack, tokens = measurer.source.stack, measurer.source.tokens
    starts = iter(range(0, tokens, CHUNK_TOKENS))
    total: ChunkSums | None = None
    # Taken at once and filled: a small tensor kept from each chunk would let the process grow with their number.
    samples = torch.empty(len(stack.sites), stack.streams, stack.streams, len(measurer.picked), dtype=measurer.dtype)
    taken = 0
    # One rank alone adds each chunk at once: sixteen of them kept 800 MB of heap from being used again.
    round_of_all = ROUND * ranks.count if ranks.count > 1 else 1
    while batch := list(islice(starts, round_of_all)):
        mine = _measure_some(measurer, batch[ranks.rank :: ranks.count], ranks)
        for part in sorted(ranks.gather_all(mine), key=lambda part: part.start):
            total = part if total is None else total + part
            begun, taken = taken, taken + part.samples.shape[-1]
            samples[..., begun:taken] = part.samples
    return total, samples


def _measure_some(measurer: ChunkMeasurer, starts: Sequence[int], ranks: Ranks) -> Iterator[ChunkSums]:
    tokens = measurer.source.tokens
    try:
        for start in starts:
            yield measurer.measure(start, min(start + CHUNK_TOKENS, tokens))
    except (MhcdiagError, OSError) as error:
        if ranks.count == 1:
            raise
        # The others wait for this rank's part: going on to the next input would answer them with something else.
        raise RankError(f"rank {ranks.rank} of {ranks.count}: {error}") from error


def _joined(measurer: ChunkMeasurer, total: ChunkSums, found: dict[CurveKey, Curve], samples: SampledMaps) -> Gains:
    tokens, sites = measurer.source.tokens, measurer.source.stack.sites
    spans = _spans(samples.to(measurer.device), found, measurer.kernel)
    return Gains(
        curves=found,
        spans=spans,
        worst=worst_spans(spans, sites),
        tokens=tokens,
        span_tokens=len(measurer.picked),
        sinkhorn=_quality(measurer, total),
        nonfinite_tokens=tuple(total.nonfinite.tolist()),
        mean_mappings=mean_matrices(total.kinds[Kind.SINGLE], tokens=tokens),
        mean_composite=mean_matrices(total.kinds[Kind.PREFIX], tokens=tokens)[-1],
        kernel=" and ".join(sorted(total.kernels)),
        piece=total.piece,
    )


def _quality(measurer: ChunkMeasurer, total: ChunkSums) -> SinkhornQuality | None:
    if total.residuals is None or measurer.exact_side is None:
        return None
    return total.residuals.quality(measurer.exact_side, tokens=measurer.source.tokens)


def _evenly_spaced(tokens: int, most: int) -> Tensor:
    wanted = min(tokens, most)
    return torch.arange(wanted) * tokens // wanted


def _spans(maps: SampledMaps, curves: dict[CurveKey, Curve], kernel: Kernel) -> dict[SpanKey, tuple[Curve, ...]]:
    """Token means over all spans; where a curve covers the same span with all tokens, its mean stands instead."""
    found: dict[SpanKey, tuple[Curve, ...]] = {}
    for key, sums in kernel.span_sums(maps).items():
        matrix = [list((sums[a] / maps.shape[-1]).numbers()) for a in range(maps.shape[0])]
        for l, single in enumerate(curves[Kind.SINGLE, *key, Reduction.MEAN]):  # noqa: E741 - l is the papers' site index
            matrix[l][l] = single
        matrix[0] = list(curves[Kind.PREFIX, *key, Reduction.MEAN])
        for row, suffix in zip(matrix, curves[Kind.SUFFIX, *key, Reduction.MEAN], strict=True):
            row[-1] = suffix
        found[key] = tuple(tuple(row) for row in matrix)
    return found


def worst_spans(spans: Mapping[SpanKey, Sequence[Curve]], sites: Sequence[str]) -> dict[SpanKey, WorstSpan]:
    """`worst_span` per direction and definition."""
    return {key: worst_span(matrix, sites) for key, matrix in spans.items()}


def worst_span(spans: Sequence[Curve], sites: Sequence[str]) -> WorstSpan:
    """The largest of all P(a,b); of equal ones the shortest, then the first.

    Parameters
    ----------
    spans
        Row a, entry b: token mean of the gain of P(a,b); entries below the diagonal are ignored.
    sites
        Names of the sites.
    """
    # NaN or infinity anywhere is worse than any number.
    cells = [(row[b], b - a, a) for a, row in enumerate(spans) for b in range(a, len(sites))]
    broken = [(length, a) for value, length, a in cells if not is_finite(value)]
    if broken:
        length, a = min(broken)
        return WorstSpan(value=spans[a][a + length], from_site=sites[a], to_site=sites[a + length])
    largest: Number = max(value for value, _, _ in cells)
    close = Huge(largest.log10 - TIE) if isinstance(largest, Huge) else largest * (1 - TIE)
    length, a = min((length, a) for value, length, a in cells if value >= close)
    return WorstSpan(value=largest, from_site=sites[a], to_site=sites[a + length])


def with_reached(
    bounds: Mapping[Direction, Bound], worst_inputs: StaticMaps, measured: Gains
) -> dict[Direction, Bound]:
    """Bounds with what some input reaches over the worst span, in the definition `norm`.

    A bound that holds for any input may be loose by orders of magnitude. What some input reaches says how loose: the
    largest gain of any input that was measured or searched for, whether a token could have it or not.

    Parameters
    ----------
    bounds
        What no input can exceed.
    worst_inputs
        Mappings of inputs that were searched for.
    measured
        Gains of inputs that were measured; some of these may exceed what was searched for.

    Returns
    -------
    dict
        `reached` is at most `worst`: rounding alone could lift it above, where the bound itself is reached.
    """
    searched = [span_sums(worst_inputs.maps[..., token : token + 1]) for token in range(worst_inputs.tokens)]
    found = {}
    for direction, bound in bounds.items():
        key = (direction, Definition.NORM)
        numbers = [
            number for sums in searched for a in range(len(sums[key].mantissa)) for number in sums[key][a].numbers()
        ]
        numbers += _measured(measured, direction)
        reached = max((number for number in numbers if is_finite(number)), default=None)
        found[direction] = replace(bound, reached=_at_most(reached, bound.worst))
    return found


def _at_most(reached: Number | None, bound: Number | None) -> Number | None:
    return reached if reached is None or bound is None else min(reached, bound)


def _measured(measured: Gains, direction: Direction) -> Iterator[Number]:
    """The worst span on average, and the largest of each product over tokens."""
    yield measured.worst[direction, Definition.NORM].value
    for kind in Kind:
        yield from measured.curves[kind, direction, Definition.NORM, Reduction.MAX]


def identity_gains(stack: Stack) -> Gains:
    """The record that measuring identity mappings would give."""
    sites = len(stack.sites)
    ones: Curve = (1.0,) * sites
    triangle: tuple[Curve, ...] = tuple((math.nan,) * a + (1.0,) * (sites - a) for a in range(sites))
    return _constant_gains(stack, DiagonalGains(single=ones, prefix=ones, suffix=ones, spans=triangle))


def factor_gains(stack: Stack, factors: SiteFactors) -> Gains:
    """The record that measuring diagonal mappings would give, from the factors on their diagonals."""
    gains = _constant_gains(stack, diagonal_gains(factors))
    if factors.shape[1] > 1:
        return gains  # [channel, channel] matrices are no record
    product = float(factors.double().prod())
    return replace(gains, mean_mappings=tuple(((float(f),),) for f in factors[:, 0]), mean_composite=((product,),))


def _constant_gains(stack: Stack, gains: DiagonalGains) -> Gains:
    """Gains that are the same for every token, in both directions and definitions."""
    of_kind = {Kind.SINGLE: gains.single, Kind.PREFIX: gains.prefix, Kind.SUFFIX: gains.suffix}
    curves: dict[CurveKey, Curve] = {
        (kind, direction, definition, reduction): of_kind[kind]
        for kind in Kind
        for direction in Direction
        for definition in Definition
        for reduction in _REDUCTIONS
    }
    spans = {(direction, definition): gains.spans for direction in Direction for definition in Definition}
    return Gains(
        curves=curves,
        spans=spans,
        worst=worst_spans(spans, stack.sites),
        tokens=1,
        span_tokens=1,
        sinkhorn=None,
        nonfinite_tokens=(0,) * len(stack.sites),
    )
