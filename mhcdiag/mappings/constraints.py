"""How implementations turn logits into (nearly) doubly stochastic matrices.

All of them are finite Sinkhorn-Knopp iterations (arXiv 2512.24880, equation 9) that differ in the start, in the order
of the two normalisations and in where eps enters. The side that is normalised last is exact; the other one carries
the error. Matrices are held as [..., row, column, token], tokens contiguous, in the orientation in which the
implementation stores them.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

Logits = Float[Tensor, "*batch row column token"]

ROWS, COLUMNS = -2, -3
"""The axis that is summed over to normalise rows (over columns) and columns (over rows)."""


@runtime_checkable
class Constraint(Protocol):
    """One way to constrain a matrix of logits."""

    @property
    def iterations(self) -> int:
        """Sinkhorn-Knopp iterations t_max."""

    @property
    def exact_axis(self) -> int | None:
        """`ROWS` or `COLUMNS`: whose sums the last step made 1, in the stored orientation; None where all sums are."""

    def apply(self, logits: Float[Tensor, "..."]) -> Logits:
        """The constrained matrices, in the element type of the logits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SoftmaxSinkhorn:
    """Row softmax plus eps, then columns, then (rows, columns) for the remaining iterations; eps in every denominator.

    Source: `hc_split_sinkhorn` of DeepSeek-V4's inference code and `transformers` (deepseek_v4, glm5_next).
    """

    iterations: int = 20
    eps: float = 1e-6

    exact_axis: int = COLUMNS

    def apply(self, logits: Logits) -> Logits:
        """See `Constraint`."""
        matrix = logits.softmax(dim=ROWS).add_(self.eps)
        _normalise(matrix, COLUMNS, self.eps)
        for _ in range(self.iterations - 1):
            _normalise(matrix, ROWS, self.eps)
            _normalise(matrix, COLUMNS, self.eps)
        return matrix


@dataclass(frozen=True, kw_only=True, slots=True)
class ExpSinkhorn:
    """exp with each column's maximum subtracted, then (columns, rows) per iteration; denominators never below eps.

    Source: `sinkhorn_knopps` of the package `hyper-connections` (mHC, mHCv2). Its log-domain variant agrees to
    rounding.
    """

    iterations: int = 20
    eps: float = 1e-12

    exact_axis: int = ROWS

    def apply(self, logits: Logits) -> Logits:
        """See `Constraint`."""
        matrix = (logits - logits.amax(dim=COLUMNS, keepdim=True)).exp_()
        for _ in range(self.iterations):
            matrix /= matrix.sum(dim=COLUMNS, keepdim=True).clamp_(min=self.eps)
            matrix /= matrix.sum(dim=ROWS, keepdim=True).clamp_(min=self.eps)
        return matrix


def _normalise(matrix: Logits, axis: int, eps: float) -> None:
    matrix /= matrix.sum(dim=axis, keepdim=True).add_(eps)
