"""Order statistics over tokens, exact up to 65,536 tokens and from a logarithmic histogram above."""

import math
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from mhcdiag.kernels.scaled import Scaled
from mhcdiag.results.numbers import Number, from_log2

EXACT_TOKENS = 65_536
BINS_PER_OCTAVE = 256
"""A quantile from the histogram is within 2**(1/512), 0.14 %, of the order statistic."""


@runtime_checkable
class Quantiles(Protocol):
    """Collects gains [site, token] chunk by chunk."""

    def add(self, gains: Scaled) -> None:
        """Take the gains of one chunk."""

    def at(self, percent: int) -> tuple[Number, ...]:
        """Per site the order statistic of rank ceil(percent T / 100), percent from 1 to 100."""


def rank_of(percent: int, tokens: int) -> int:
    """ceil(percent T / 100), in whole numbers: 0.99 * T is not exact."""
    return -(-percent * tokens // 100)


def quantiles_for(tokens: int) -> Quantiles:
    """The collector that fits a known number of tokens."""
    return ExactQuantiles() if tokens <= EXACT_TOKENS else HistogramQuantiles()


class ExactQuantiles:
    """Keeps every value."""

    def __init__(self) -> None:
        self._chunks: list[Scaled] = []

    def add(self, gains: Scaled) -> None:
        """Take the gains of one chunk."""
        self._chunks.append(gains)

    def at(self, percent: int) -> tuple[Number, ...]:
        """Per site the order statistic of that rank."""
        plain = all(chunk.exponent is None for chunk in self._chunks)
        values = torch.cat([chunk.mantissa if plain else chunk.log2() for chunk in self._chunks], dim=-1)
        rank = rank_of(percent, values.shape[-1])
        found = values.kthvalue(rank, dim=-1).values.double().tolist()
        return tuple(found) if plain else tuple(from_log2(log2) for log2 in found)


class HistogramQuantiles:
    """Counts values in bins of equal ratio.

    Only octaves that occur take memory, and counts add up exactly in any order.
    """

    def __init__(self) -> None:
        self._octaves: dict[int, Tensor] = {}
        self._nan: Tensor | None = None
        self._tokens = 0

    def add(self, gains: Scaled) -> None:
        """Take the gains of one chunk."""
        logs = gains.log2().double().cpu()
        sites, tokens = logs.shape
        nan = logs.isnan().sum(dim=-1)
        self._nan = nan if self._nan is None else self._nan + nan
        self._tokens += tokens
        # Zero and infinity have no octave: they go to the ends of the range that products of float64 can reach.
        logs = logs.nan_to_num(nan=0.0, posinf=2.0**20, neginf=-(2.0**20))
        bins = (logs * BINS_PER_OCTAVE).floor().long()
        octaves = bins.div(BINS_PER_OCTAVE, rounding_mode="floor")
        site_index = torch.arange(sites)[:, None].expand_as(bins)
        for octave in torch.unique(octaves).tolist():
            inside = octaves == octave
            flat = site_index[inside] * BINS_PER_OCTAVE + bins[inside] - octave * BINS_PER_OCTAVE
            counts = torch.bincount(flat, minlength=sites * BINS_PER_OCTAVE).view(sites, BINS_PER_OCTAVE)
            self._octaves[octave] = self._octaves[octave] + counts if octave in self._octaves else counts

    def at(self, percent: int) -> tuple[Number, ...]:
        """Per site the geometric middle of the bin that holds the order statistic."""
        assert self._nan is not None
        order = sorted(self._octaves)
        counts = torch.cat([self._octaves[octave] for octave in order], dim=1).cumsum(dim=1)
        rank = rank_of(percent, self._tokens)
        positions = torch.searchsorted(counts, torch.full((counts.shape[0], 1), rank)).squeeze(1).tolist()
        found: list[Number] = []
        for position, nan in zip(positions, self._nan.tolist(), strict=True):
            log2 = order[position // BINS_PER_OCTAVE] + (position % BINS_PER_OCTAVE + 0.5) / BINS_PER_OCTAVE
            found.append(math.nan if nan else from_log2(_unclip(log2)))
        return tuple(found)


def _unclip(log2: float) -> float:
    """Undo the clipping of zero and infinity."""
    return math.copysign(math.inf, log2) if abs(log2) >= 2.0**20 - 1 else log2
