"""From the gains of every token to one curve per reduction: mean, quantiles, maximum, and the gain of the mean.

Sums and maxima of chunks add up; quantiles need every value, or a histogram of them. Chunks are added in their order,
so that the numbers depend neither on the number of ranks nor on that of threads.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mhcdiag.kernels.composite.interface import (
    BINS,
    INFINITY,
    KEYS,
    NAN,
    ZERO,
    ChunkGains,
    Kernel,
    KindGains,
    OctaveCounts,
)
from mhcdiag.kernels.composite.reference import gains
from mhcdiag.kernels.composite.scaled import Scaled
from mhcdiag.results.gain import Curve, CurveKey, Kind, Matrix, Reduction
from mhcdiag.results.numbers import Number, from_log2

EXACT_TOKENS = 65_536
"""Tokens up to which every gain is kept for quantiles: 12 curves of 122 sites in float64 are 770 MB then, and what is
kept above must not grow with the number of tokens."""

PERCENTS = (50, 99)
"""The quantiles that are reported: order statistics of rank ceil(percent T / 100)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RowQuantiles:
    """Per row the two order statistics of `PERCENTS`."""

    p50: tuple[Number, ...]
    p99: tuple[Number, ...]


class ExactQuantiles:
    """Keeps every value [row, token], none negative, chunk by chunk in any order."""

    def __init__(self) -> None:
        self._chunks: dict[int, Scaled] = {}

    def add(self, values: Scaled, *, start: int) -> None:
        """Take the values of one chunk."""
        self._chunks[start] = values

    def merge(self, other: "Quantiles") -> None:
        """Take what another one holds."""
        assert isinstance(other, ExactQuantiles)  # all ranks chose by the same number of tokens
        self._chunks |= other._chunks

    def result(self, kernel: Kernel) -> RowQuantiles:
        """The order statistics of all values taken."""
        chunks = list(self._chunks.values())
        plain = all(chunk.exponent is None for chunk in chunks)
        # Logarithms sort as the values do, however large these are.
        parts = [chunk.mantissa if plain else chunk.log2() for chunk in chunks]
        values = parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
        lower, upper = (rank_of(percent, values.shape[-1]) for percent in PERCENTS)
        found = kernel.order_statistics(values, (lower, upper)).cpu().double()
        numbers = found.tolist() if plain else [[from_log2(log2) for log2 in row] for row in found.tolist()]
        return RowQuantiles(p50=tuple(row[0] for row in numbers), p99=tuple(row[1] for row in numbers))


class HistogramQuantiles:
    """Counts values in bins of equal ratio, 256 an octave: what is found is at most 0.14 % off.

    Only octaves that occur take memory, and counts add up exactly in any order.
    """

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._octaves: OctaveCounts = {}

    def add(self, values: Scaled, *, start: int) -> None:
        """Take the values of one chunk."""
        del start
        self._add(self._kernel.octave_counts(values))

    def merge(self, other: "Quantiles") -> None:
        """Take what another one holds."""
        assert isinstance(other, HistogramQuantiles)
        self._add(other._octaves)

    def _add(self, counts: OctaveCounts) -> None:
        for octave, found in counts.items():
            self._octaves[octave] = self._octaves[octave] + found if octave in self._octaves else found

    def result(self, kernel: Kernel) -> RowQuantiles:
        """Per row the geometric middle of the bin that holds the order statistic."""
        del kernel
        order = sorted(self._octaves)
        counts = torch.cat([self._octaves[octave] for octave in order], dim=1).cumsum(dim=1)
        tokens = int(counts[0, -1])
        by_percent = [_middles(counts, order, rank_of(percent, tokens)) for percent in PERCENTS]
        return RowQuantiles(p50=by_percent[0], p99=by_percent[1])


Quantiles = ExactQuantiles | HistogramQuantiles
"""Collects non-negative values [row, token] chunk by chunk, in any order of chunks."""

KindQuantiles = dict[Kind, Quantiles]


def quantiles_for(tokens: int, kernel: Kernel) -> Quantiles:
    """The collector that fits a known number of tokens."""
    return ExactQuantiles() if tokens <= EXACT_TOKENS else HistogramQuantiles(kernel)


def merged(parts: Iterable[Quantiles]) -> Quantiles:
    """What one collector would hold had it taken the chunks of all."""
    first, *others = parts
    for other in others:
        first.merge(other)
    return first


def rank_of(percent: int, tokens: int) -> int:
    """ceil(percent T / 100), in whole numbers: 0.99 * T is not exact."""
    return -(-percent * tokens // 100)


def _middles(counts: Tensor, order: list[int], rank: int) -> tuple[Number, ...]:
    positions = torch.searchsorted(counts, torch.full((len(counts), 1), rank)).squeeze(1).tolist()
    special = {ZERO: 0.0, INFINITY: math.inf, NAN: math.nan}
    found: list[Number] = []
    for position in positions:
        octave = order[position // BINS]
        found.append(special[octave] if octave in special else from_log2(octave + (position % BINS + 0.5) / BINS))
    return tuple(found)


class TokenQuantiles:
    """Collects the gains of every token, per kind."""

    def __init__(self, tokens: int, kernel: Kernel) -> None:
        self._kernel = kernel
        self.kinds: KindQuantiles = {kind: quantiles_for(tokens, kernel) for kind in Kind}

    def add(self, found: ChunkGains, *, start: int) -> None:
        """Take the gains of the chunk that begins at token `start`."""
        for kind, gained in found.kinds.items():
            assert gained.per_token is not None
            self.kinds[kind].add(gained.per_token.rows(), start=start)


@dataclass(frozen=True, kw_only=True, slots=True)
class KindSums:
    """What one chunk adds to the curves of one kind of product: float64, on the CPU."""

    sums: Scaled
    """[key, site]."""
    maxima: Scaled
    """[key, site]."""
    matrices: Scaled
    """[site, row, column]."""
    without_first: Scaled | None
    """[key, site]: sums over the tokens that do not begin a sequence; None where they are all of them."""

    def __add__(self, later: "KindSums") -> "KindSums":
        return KindSums(
            sums=self.sums + later.sums,
            maxima=self.maxima.maximum(later.maxima),
            matrices=self.matrices + later.matrices,
            without_first=_added(self.without_first, later.without_first),
        )


def _added(earlier: Scaled | None, later: Scaled | None) -> Scaled | None:
    return earlier + later if earlier is not None and later is not None else None


def chunk_sums(found: ChunkGains, *, others: Tensor | None) -> dict[Kind, KindSums]:
    """The sums of one chunk, per kind.

    Parameters
    ----------
    found
        Its gains, with those of every token and with matrices.
    others
        Positions in the chunk of the tokens that do not begin a sequence; None where nothing is said of that.
    """
    return {kind: _kind_sums(gained, others) for kind, gained in found.kinds.items()}


def _kind_sums(found: KindGains, others: Tensor | None) -> KindSums:
    assert found.per_token is not None
    assert found.matrices is not None
    return KindSums(
        sums=found.sums.cpu(),
        maxima=found.maxima.cpu(),
        matrices=found.matrices.cpu(),
        without_first=None if others is None else found.per_token.take(others).sum_tokens().cpu(),
    )


def positions_of_others(first_tokens: Sequence[int], *, start: int, stop: int) -> Tensor | None:
    """Positions within start..stop-1 of the tokens that do not begin a sequence; None where none is said to."""
    if not first_tokens:
        return None
    keep = torch.ones(stop - start, dtype=torch.bool)
    inside = torch.tensor([token - start for token in first_tokens if start <= token < stop], dtype=torch.long)
    keep[inside] = False
    return keep.nonzero().squeeze(1)


def curves(
    kinds: dict[Kind, KindSums], quantiles: Iterable[KindQuantiles], kernel: Kernel, *, tokens: int, first_tokens: int
) -> dict[CurveKey, Curve]:
    """All curves, in the order kind, direction, definition, reduction.

    Parameters
    ----------
    kinds
        Sums over all tokens.
    quantiles
        What each rank collected.
    kernel
        Finds order statistics.
    tokens, first_tokens
        Number of tokens, and of those that begin a sequence.
    """
    collected = list(quantiles)
    found: dict[CurveKey, Curve] = {}
    for kind, sums in kinds.items():
        quantile = merged(of_rank[kind] for of_rank in collected).result(kernel)
        of_mean = gains((sums.matrices / tokens).with_token())
        sites = sums.sums.mantissa.shape[1]
        for k, key in enumerate(KEYS):
            row = slice(k * sites, (k + 1) * sites)
            found[kind, *key, Reduction.MEAN] = (sums.sums[k] / tokens).numbers()
            found[kind, *key, Reduction.P50] = quantile.p50[row]
            found[kind, *key, Reduction.P99] = quantile.p99[row]
            found[kind, *key, Reduction.MAX] = sums.maxima[k].numbers()
            if sums.without_first is not None and tokens > first_tokens:
                without = sums.without_first[k] / (tokens - first_tokens)
                found[kind, *key, Reduction.MEAN_WITHOUT_FIRST] = without.numbers()
            found[kind, *key, Reduction.OF_MEAN] = of_mean[key].sum_tokens().numbers()
    return found


def mean_matrices(sums: KindSums, *, tokens: int) -> tuple[Matrix, ...]:
    """Per site, the token mean of the composite: what the reduction `of_mean` measures."""
    mean = sums.matrices / tokens
    exponent = torch.zeros_like(mean.mantissa) if mean.exponent is None else mean.exponent.expand_as(mean.mantissa)
    return tuple(
        tuple(tuple(map(_float, *rows)) for rows in zip(*site, strict=True))
        for site in zip(mean.mantissa.tolist(), exponent.tolist(), strict=True)
    )


def _float(mantissa: float, exponent: float) -> float:
    try:
        return math.ldexp(mantissa, int(exponent))
    except OverflowError:  # a matrix in a record has plain numbers: what is beyond float64 is infinity there
        return math.copysign(math.inf, mantissa)
