"""Order statistics and logarithmic histograms of many rows of non-negative numbers, in plain torch.

A bin is one of `BINS` parts of an octave, of equal ratio: value v = m 2^e with m in [1, 2) lies in bin k of octave e
where 2^(k/BINS) <= m < 2^((k+1)/BINS). Bins are found by comparing with these bounds, not with logarithms, so that
every implementation and machine counts alike.
"""

import math
from functools import cache

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from mhcdiag.kernels.composite.scaled import Scaled

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
