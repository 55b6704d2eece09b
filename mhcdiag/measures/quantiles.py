"""Order statistics over tokens, exact up to 65,536 tokens and from a logarithmic histogram above."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from mhcdiag.kernels.composite.interface import Kernel
from mhcdiag.kernels.composite.quantiles import BINS, INFINITY, NAN, ZERO, OctaveCounts
from mhcdiag.kernels.composite.scaled import Scaled
from mhcdiag.results.numbers import Number, from_log2

EXACT_TOKENS = 65_536
PERCENTS = (50, 99)
"""The quantiles that are reported: order statistics of rank ceil(percent T / 100)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RowQuantiles:
    """Per row the two order statistics of `PERCENTS`."""

    p50: tuple[Number, ...]
    p99: tuple[Number, ...]


@runtime_checkable
class Quantiles(Protocol):
    """Collects non-negative values [row, token] chunk by chunk, in any order of chunks."""

    def add(self, values: Scaled, *, start: int) -> None:
        """Take the values of one chunk, which begins at token `start`."""

    def result(self, kernel: Kernel) -> RowQuantiles:
        """The order statistics of all values taken."""


def rank_of(percent: int, tokens: int) -> int:
    """ceil(percent T / 100), in whole numbers: 0.99 * T is not exact."""
    return -(-percent * tokens // 100)


def quantiles_for(tokens: int, kernel: Kernel) -> "ExactQuantiles | HistogramQuantiles":
    """The collector that fits a known number of tokens."""
    return ExactQuantiles() if tokens <= EXACT_TOKENS else HistogramQuantiles(kernel)


def merged(parts: Iterable["ExactQuantiles | HistogramQuantiles"]) -> "ExactQuantiles | HistogramQuantiles":
    """What one collector would hold had it taken the chunks of all."""
    first, *others = parts
    for other in others:
        first.merge(other)
    return first


class ExactQuantiles:
    """Keeps every value."""

    def __init__(self) -> None:
        self._chunks: dict[int, Scaled] = {}

    def add(self, values: Scaled, *, start: int) -> None:
        """Take the values of one chunk."""
        self._chunks[start] = values

    def merge(self, other: "ExactQuantiles | HistogramQuantiles") -> None:
        """Take what another one holds."""
        assert isinstance(other, ExactQuantiles)
        self._chunks |= other._chunks

    def result(self, kernel: Kernel) -> RowQuantiles:
        """The order statistics of all values taken."""
        chunks = list(self._chunks.values())
        plain = all(chunk.exponent is None for chunk in chunks)
        parts = [chunk.mantissa if plain else chunk.log2() for chunk in chunks]
        values = parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
        lower, upper = (rank_of(percent, values.shape[-1]) for percent in PERCENTS)
        found = kernel.order_statistics(values, (lower, upper)).cpu().double()
        numbers = found.tolist() if plain else [[from_log2(log2) for log2 in row] for row in found.tolist()]
        return RowQuantiles(p50=tuple(row[0] for row in numbers), p99=tuple(row[1] for row in numbers))


class HistogramQuantiles:
    """Counts values in bins of equal ratio.

    Only octaves that occur take memory, and counts add up exactly in any order.
    """

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._octaves: OctaveCounts = {}

    def add(self, values: Scaled, *, start: int) -> None:
        """Take the values of one chunk."""
        del start
        self._add(self._kernel.octave_counts(values))

    def merge(self, other: "ExactQuantiles | HistogramQuantiles") -> None:
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


def _middles(counts: Tensor, order: list[int], rank: int) -> tuple[Number, ...]:
    positions = torch.searchsorted(counts, torch.full((len(counts), 1), rank)).squeeze(1).tolist()
    special = {ZERO: 0.0, INFINITY: math.inf, NAN: math.nan}
    found: list[Number] = []
    for position in positions:
        octave = order[position // BINS]
        found.append(special[octave] if octave in special else from_log2(octave + (position % BINS + 0.5) / BINS))
    return tuple(found)
