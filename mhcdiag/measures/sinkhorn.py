"""How far a finite Sinkhorn iteration stayed from a doubly stochastic mapping."""

import torch
from jaxtyping import Float
from torch import Tensor

from mhcdiag.kernels.composites import prefixes
from mhcdiag.results.gain import Direction, SinkhornQuality


class SinkhornResiduals:
    """Collects residuals chunk by chunk."""

    def __init__(self, exact_side: Direction) -> None:
        self._exact_side = exact_side
        self._tokens = 0
        self._row_sum: Tensor | None = None
        self._column_sum: Tensor | None = None
        self._log_sum = 0.0
        self._log_max = 0.0

    def add(self, maps: Float[Tensor, "site stream stream token"]) -> None:
        """Take the mappings of one chunk."""
        rows = _residual(maps, axis=2)
        columns = _residual(maps, axis=1)
        self._row_sum = rows if self._row_sum is None else self._row_sum + rows
        self._column_sum = columns if self._column_sum is None else self._column_sum + columns
        inexact_axis = 0 if self._exact_side is Direction.FORWARD else 1
        composite = prefixes(maps)[-1]
        sums = composite.mantissa.sum(dim=inexact_axis).abs().log()
        if composite.exponent is not None:
            sums = sums + composite.exponent[0] * torch.log(torch.tensor(2.0))
        largest = sums.abs().amax(dim=0)
        self._log_sum += float(largest.sum())
        self._log_max = max(self._log_max, float(largest.max()))
        self._tokens += maps.shape[-1]

    def quality(self) -> SinkhornQuality:
        """The residuals over all tokens taken so far."""
        assert self._row_sum is not None
        assert self._column_sum is not None
        return SinkhornQuality(
            exact_side=self._exact_side,
            row_residual=tuple((self._row_sum / self._tokens).tolist()),
            column_residual=tuple((self._column_sum / self._tokens).tolist()),
            log_sum_mean=self._log_sum / self._tokens,
            log_sum_max=self._log_max,
        )


def _residual(maps: Float[Tensor, "site stream stream token"], *, axis: int) -> Float[Tensor, " site"]:
    """Sum over tokens of the largest deviation of a row sum (axis 2) or column sum (axis 1) from 1."""
    return (maps.sum(dim=axis) - 1).abs().amax(dim=1).sum(dim=-1)
