"""How far a finite Sinkhorn iteration stayed from a doubly stochastic mapping."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mhcdiag.kernels.composite.products import prefixes
from mhcdiag.results.gain import Direction, SinkhornQuality


@dataclass(frozen=True, kw_only=True, slots=True)
class ResidualSums:
    """What one chunk of tokens adds: float64, on the CPU."""

    rows: Float[Tensor, " site"]
    """Sum over tokens of the largest deviation of a row sum from 1."""
    columns: Float[Tensor, " site"]
    """The same of column sums."""
    log_sum: float
    """Sum over tokens of the largest |ln s| over the inexact side's sums s of the full composite."""
    log_max: float
    """The largest of them."""

    def __add__(self, later: "ResidualSums") -> "ResidualSums":
        return ResidualSums(
            rows=self.rows + later.rows,
            columns=self.columns + later.columns,
            log_sum=self.log_sum + later.log_sum,
            log_max=math.nan if math.isnan(self.log_max + later.log_max) else max(self.log_max, later.log_max),
        )

    def quality(self, exact_side: Direction, *, tokens: int) -> SinkhornQuality:
        """The record over all tokens."""
        return SinkhornQuality(
            exact_side=exact_side,
            row_residual=tuple((self.rows / tokens).tolist()),
            column_residual=tuple((self.columns / tokens).tolist()),
            log_sum_mean=self.log_sum / tokens,
            log_sum_max=self.log_max,
        )


def residual_sums(maps: Float[Tensor, "site stream stream token"], exact_side: Direction) -> ResidualSums:
    """The sums of one chunk.

    Parameters
    ----------
    maps
        Its mappings.
    exact_side
        The direction whose sums the Sinkhorn iteration made 1.
    """
    inexact_axis = 0 if exact_side is Direction.FORWARD else 1
    composite = prefixes(maps)[-1]
    sums = composite.mantissa.sum(dim=inexact_axis).abs().log()
    if composite.exponent is not None:
        sums = sums + composite.exponent[0] * torch.log(torch.tensor(2.0))
    largest = sums.abs().amax(dim=0)
    return ResidualSums(
        rows=_residual(maps, axis=2),
        columns=_residual(maps, axis=1),
        log_sum=float(largest.sum()),
        log_max=float(largest.max()),
    )


def _residual(maps: Float[Tensor, "site stream stream token"], *, axis: int) -> Float[Tensor, " site"]:
    """Sum over tokens of the largest deviation of a row sum (axis 2) or column sum (axis 1) from 1."""
    return (maps.sum(dim=axis) - 1).abs().amax(dim=1).sum(dim=-1).cpu().double()
