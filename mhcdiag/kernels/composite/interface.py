"""What every implementation of composite gains takes and gives back.

Adding one is one file here with a frozen dataclass that has the attributes of `Kernel` and a `name` of its own, and one
entry in `KERNELS` (`dispatch.py`). It must

* give the numbers of `ReferenceKernel` to rounding, for any strides and any number of tokens (`tests/kernels`),
* hand chunks with NaN, infinity or gains that are not `is_safe` to the reference,
* raise ImportError or RuntimeError while it is imported where something is missing: plain torch then runs.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Flag, auto
from functools import cache
from itertools import product
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from mhcdiag.kernels.composite.scaled import Scaled
from mhcdiag.results.gain import Definition, Direction, Kind, SpanKey

BINS = 256
"""Bins of an octave: the middle of a bin is within 2**(1/512), 0.14 %, of every value in it."""
ZERO, INFINITY, NAN = -(1 << 20), 1 << 20, (1 << 20) + 1
"""Octaves that stand for what has none; bin 0. In this order they sort as `kthvalue` does, NaN above everything."""

OctaveCounts = dict[int, Int64[Tensor, "row bin"]]
"""How many values of each row lie in each bin, for the octaves that occur."""


def bin_bounds() -> tuple[float, ...]:
    """Lower bounds 2^(k/BINS) of the bins of the octave [1, 2)."""
    return tuple(math.exp2(k / BINS) for k in range(BINS))


def order_statistics(values: Float[Tensor, "row token"], ranks: tuple[int, int]) -> Float[Tensor, "row rank"]:
    """The values of two ranks, counted from 1 and ascending, of each row; NaN ranks above everything."""
    # Not `torch.quantile`, which interpolates, sorts everything and refuses more than 16 million values.
    return torch.stack([values.kthvalue(rank, dim=-1).values for rank in ranks], dim=-1)


def octave_counts(values: Scaled) -> OctaveCounts:
    """Counts of a chunk of values [row, token]: on the CPU, counted where the values are."""
    # Counted on a GPU, since its chunk is larger than the counts; other devices than CUDA know no float64.
    where = "cuda" if values.mantissa.is_cuda else "cpu"
    mantissa, shift = torch.frexp(values.mantissa.to(where).double())
    octaves = (shift - 1).long()
    if values.exponent is not None:
        octaves = octaves + values.exponent.to(where).long()
    octaves = torch.where(mantissa == 0, ZERO, octaves)
    octaves = torch.where(mantissa.isinf(), INFINITY, octaves)
    octaves = torch.where(mantissa.isnan(), NAN, octaves)
    ordinary = (octaves > ZERO) & (octaves < INFINITY)
    bins = torch.bucketize(torch.where(ordinary, mantissa * 2, 1.0), _bounds().to(where), right=True) - 1
    rows = torch.arange(len(mantissa), device=where)[:, None].expand_as(bins)
    found: OctaveCounts = {}
    for octave in torch.unique(octaves).tolist():
        inside = octaves == octave
        flat = rows[inside] * BINS + bins[inside]
        found[octave] = torch.bincount(flat, minlength=len(mantissa) * BINS).view(-1, BINS).cpu()
    return found


@cache
def _bounds() -> Tensor:
    return torch.tensor(bin_bounds(), dtype=torch.float64)


Maps = Float[Tensor, "site stream stream token"]
"""H_res per site and token in the convention x_new = H x. Any strides: what a file holds token by token is a view."""

KEYS: tuple[SpanKey, ...] = tuple(product(Direction, Definition))
"""The order of the axis `key`: forward amax, forward norm, backward amax, backward norm."""

# The square root of the range, with some room: no term of a product of two safe matrices overflows or underflows.
_SAFE = {torch.float32: 2.0**60, torch.float64: 2.0**500}


def is_safe(lowest: float, highest: float, dtype: torch.dtype) -> bool:
    """Whether products with norm gains from `lowest` to `highest` lost nothing to overflow or underflow on the way.

    False for NaN, too.
    """
    return 1 / _SAFE[dtype] <= lowest and highest <= _SAFE[dtype]


class Outputs(Flag):
    """What is wanted beyond sums and maxima."""

    NOTHING = 0
    PER_TOKEN = auto()
    """The gains of every token, for quantiles."""
    MATRICES = auto()
    """Token sums of the composites themselves, for the gain of the mean."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KindGains:
    """The gains of one kind of product, for one chunk of tokens."""

    sums: Scaled
    """[key, site], over tokens."""
    maxima: Scaled
    """[key, site], over tokens."""
    matrices: Scaled | None
    """[site, row, column], sums over tokens; None unless wanted."""
    per_token: Scaled | None
    """[key, site, token]; None unless wanted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChunkGains:
    """The gains of one chunk of tokens."""

    kinds: Mapping[Kind, KindGains]
    """Single, prefix and suffix products."""
    nonfinite: Tensor | None
    """Per site, the number of tokens whose mapping holds NaN or infinity; None where there is none."""
    kernel: str
    """Name of the implementation that ran."""


@runtime_checkable
class Kernel(Protocol):
    """One implementation of composite gains and their all-spans form."""

    @property
    def name(self) -> str:
        """As it is shown to users."""

    def chunk_gains(self, maps: Maps, outputs: Outputs) -> ChunkGains:
        """Gains of single, prefix and suffix products of one chunk, computed in the element type of `maps`.

        Mappings in half precision are computed in float32.
        """

    def span_sums(self, maps: Maps) -> dict[SpanKey, Scaled]:
        """Per key, sums over tokens of the gain of P(a,b) as a matrix [a, b]; NaN below the diagonal."""

    def order_statistics(self, values: Float[Tensor, "row token"], ranks: tuple[int, int]) -> Float[Tensor, "row rank"]:
        """The values of two ranks, counted from 1 and ascending, of each row; NaN ranks above everything."""

    def octave_counts(self, values: Scaled) -> OctaveCounts:
        """How many values of each row [row, token], none negative, lie in each bin; see `quantiles`."""
