"""The implementation for processors: Numba loops over blocks of tokens, on all the threads that torch may use."""

import math
import sys
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy
import torch
from jaxtyping import Float
from torch import Tensor

from mhcdiag.kernels.choice import share, widened
from mhcdiag.kernels.composite import cpu_loops, cpu_selection
from mhcdiag.kernels.composite.cpu_loops import BLOCK, FORWARD_NORM, MAXIMUM, MINIMUM, SUM
from mhcdiag.kernels.composite.interface import (
    BINS,
    KEYS,
    ZERO,
    ChunkGains,
    KindGains,
    Maps,
    OctaveCounts,
    Outputs,
    is_safe,
    octave_counts,
    order_statistics,
)
from mhcdiag.kernels.composite.reference import ReferenceKernel
from mhcdiag.kernels.composite.scaled import Scaled
from mhcdiag.results.gain import Kind, SpanKey

TINY = sys.float_info.min
"""Smallest normal float64."""


@dataclass(frozen=True, slots=True)
class NumbaKernel:
    """See `Kernel`; a chunk with NaN, infinity or gains near the limits of its element type goes to the reference."""

    name: ClassVar[str] = "numba"

    def chunk_gains(self, maps: Maps, outputs: Outputs) -> ChunkGains:
        """See `Kernel`."""
        maps = widened(maps)
        sites, streams, _, tokens = maps.shape
        buffer, layout = _flat(maps)
        blocks = -(-tokens // BLOCK)
        reduced = numpy.empty((blocks, 3, sites, 3, len(KEYS)))
        entry_sums = numpy.empty((blocks if Outputs.MATRICES in outputs else 0, 3, sites, streams * streams))
        per_token = numpy.empty((3 if Outputs.PER_TOKEN in outputs else 0, len(KEYS), sites, tokens), buffer.dtype)
        finite = numpy.empty(blocks, bool)
        share(
            partial(cpu_loops.composites, buffer, layout, (0,) * streams, _whole(buffer[:0])),
            blocks,
            (reduced, entry_sums, per_token, finite),
        )
        norms = reduced[..., FORWARD_NORM]
        lowest, highest = float(norms[..., MINIMUM].min()), float(norms[..., MAXIMUM].max())
        if not (finite.all() and is_safe(lowest, highest, maps.dtype)):
            return ReferenceKernel().chunk_gains(maps, outputs)
        kinds = {}
        for k, kind in enumerate(Kind):
            matrices = entry_sums[:, k].sum(axis=0).reshape(sites, streams, streams) if entry_sums.size else None
            kinds[kind] = KindGains(
                sums=_plain(reduced[:, k, :, SUM].sum(axis=0).T),
                maxima=_plain(reduced[:, k, :, MAXIMUM].max(axis=0).T),
                matrices=None if matrices is None else _plain(matrices),
                per_token=_plain(per_token[k]) if per_token.size else None,
            )
        return ChunkGains(kinds=kinds, nonfinite=None, kernel=self.name)

    def span_sums(self, maps: Maps) -> dict[SpanKey, Scaled]:
        """See `Kernel`."""
        maps = widened(maps)
        sites, streams, _, tokens = maps.shape
        blocks = -(-tokens // BLOCK)
        sums = numpy.full((blocks, sites, sites, len(KEYS)), numpy.nan)
        extremes = numpy.empty((blocks, 2))
        buffer, layout = _flat(maps)
        loop = partial(cpu_loops.spans, buffer, layout, (0,) * streams, _whole(buffer[:0]))
        share(loop, blocks, (sums, extremes))
        lowest, highest = float(extremes[:, 0].min()), float(extremes[:, 1].max())
        if not is_safe(lowest, highest, maps.dtype):
            return ReferenceKernel().span_sums(maps)
        total = sums.sum(axis=0)
        return {key: _plain(total[..., k]) for k, key in enumerate(KEYS)}

    def order_statistics(self, values: Float[Tensor, "row token"], ranks: tuple[int, int]) -> Float[Tensor, "row rank"]:
        """See `Kernel`."""
        bits = _bits(values)
        rows = len(bits)
        found, largest = numpy.empty((rows, 2), bits.dtype), numpy.empty(rows, bits.dtype)
        share(cpu_selection.select, rows, (bits, numpy.asarray(ranks), found, largest))
        if largest.max() > _infinity(bits.dtype):  # logarithms may be negative
            return order_statistics(values, ranks)
        return torch.from_numpy(found.view(numpy.float32 if bits.dtype == numpy.uint32 else numpy.float64))

    def octave_counts(self, values: Scaled) -> OctaveCounts:
        """See `Kernel`."""
        plain = values.mantissa.double()
        bits = _bits(plain)
        rows = len(bits)
        edges = numpy.empty((2, rows), numpy.uint64)
        share(cpu_selection.extent, rows, (bits, edges[0], edges[1]))
        least, most = edges[0].min().view(numpy.float64), edges[1].max()
        if values.exponent is not None or most >= _infinity(bits.dtype) or not least >= TINY:
            return octave_counts(values)
        lowest, highest = (math.frexp(float(edge))[1] - 1 for edge in (least, most.view(numpy.float64)))
        counts = cpu_selection.empty_counts(rows, max(highest - lowest + 1, 0))
        zeros = numpy.zeros(rows, numpy.int64)
        tables = (cpu_selection.FIRST_GUESS, cpu_selection.BOUNDS)
        share(cpu_selection.count, rows, (bits, *tables, lowest, counts, zeros))
        # Copied: a view of a rare octave would keep all the counts of its chunk for as long as it is the only one.
        found = {
            lowest + k: torch.from_numpy(counts[:, k].copy()) for k in range(counts.shape[1]) if counts[:, k].any()
        }
        if zeros.any():
            found[ZERO] = torch.from_numpy(numpy.pad(zeros[:, None], ((0, 0), (0, BINS - 1))))
        return found


def _bits(values: Float[Tensor, "row token"]) -> numpy.ndarray:
    return _whole(values.contiguous().numpy())


def _whole(array: numpy.ndarray) -> numpy.ndarray:
    """The same memory as whole numbers without sign."""
    return array.view(numpy.uint32 if array.dtype == numpy.float32 else numpy.uint64)


def _infinity(dtype: numpy.dtype) -> int:
    """Infinity as a whole number; every negative number and NaN is larger."""
    return 0x7F800000 if dtype == numpy.uint32 else 0x7FF0000000000000


def _flat(maps: Maps) -> tuple[numpy.ndarray, tuple[int, ...]]:
    """The memory behind the mappings and how to step through it; a copy only where entries have no common stride."""
    sites, streams, _, tokens = maps.shape
    if maps.stride(1) != streams * maps.stride(2):
        maps = maps.contiguous()
    site_stride, _, entry_stride, token_stride = maps.stride()
    reach = (sites - 1) * site_stride + (tokens - 1) * token_stride + (streams * streams - 1) * entry_stride
    buffer = maps.as_strided((reach + 1,), (1,)).numpy()
    return buffer, (sites, tokens, site_stride, token_stride, entry_stride)


def _plain(values: numpy.ndarray) -> Scaled:
    return Scaled(torch.from_numpy(numpy.ascontiguousarray(values)), None)
