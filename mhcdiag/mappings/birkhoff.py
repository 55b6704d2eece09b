"""Constraints that need no iteration: matrices that are doubly stochastic (or nearly so) by construction.

Logits need not have the shape of the matrix: coefficients come as one row, [..., 1, coefficient, token].
"""

from dataclasses import dataclass
from functools import cache
from itertools import permutations
from math import factorial

import torch
from jaxtyping import Float
from torch import Tensor

from mhcdiag.kernels.sinkhorn.interface import COLUMNS, ROWS
from mhcdiag.mappings.sinkhorn_limits import FLOAT32_MAX, FloatRange

Coefficients = Float[Tensor, "*batch 1 coefficient token"]
Matrices = Float[Tensor, "*batch row column token"]
BOTH = (ROWS, COLUMNS)


@cache
def permutation_matrices(streams: int) -> Float[Tensor, "permutation row column"]:
    """All n! permutation matrices in lexicographic order, the identity first: P_k[i, pi_k(i)] = 1.

    That is the order of `itertools.permutations`, by which mHC-lite's code numbers its coefficients.
    """
    identity = torch.eye(streams)
    return torch.stack([identity[list(order)] for order in permutations(range(streams))])


@dataclass(frozen=True, kw_only=True, slots=True)
class PermutationMixture:
    """A convex combination of all n! permutation matrices, weighted by a softmax (Birkhoff-von Neumann).

    The r-th coefficient weighs the identity with its rows permuted by the r-th permutation in lexicographic order.
    Source: mHC-lite, arXiv 2601.05732.
    """

    streams: int

    @property
    def exact_axes(self) -> tuple[int, ...]:
        """See `Constraint`."""
        return BOTH

    def finite_within(self, streams: int) -> FloatRange:
        """See `Constraint`; a softmax subtracts the largest first."""
        del streams
        return -FLOAT32_MAX / 2, FLOAT32_MAX / 2

    def least_sum(self, streams: int) -> float:
        """See `Constraint`."""
        del streams
        return 1.0

    def apply(self, logits: Coefficients, *, matrices: int = 0) -> Matrices:
        """See `Constraint`; there are n! coefficients."""
        del matrices
        weights = logits.squeeze(-3).softmax(dim=-2)
        return torch.einsum("...rt,rij->...ijt", weights, permutation_matrices(self.streams).to(weights))


@dataclass(frozen=True, kw_only=True, slots=True)
class KroneckerPairs:
    """U_1 x ... x U_K (Kronecker), U_k = [[p, 1-p], [1-p, p]], p from the softmax of the k-th pair of coefficients.

    The first factor is the most significant. The matrix is symmetric. Source: KromHC, arXiv 2601.21579.
    """

    @property
    def exact_axes(self) -> tuple[int, ...]:
        """See `Constraint`."""
        return BOTH

    def finite_within(self, streams: int) -> FloatRange:
        """See `Constraint`; differences of two of them."""
        del streams
        return -FLOAT32_MAX / 2, FLOAT32_MAX / 2

    def least_sum(self, streams: int) -> float:
        """See `Constraint`."""
        del streams
        return 1.0

    def apply(self, logits: Coefficients, *, matrices: int = 0) -> Matrices:
        """See `Constraint`; there are 2 log2 n coefficients."""
        del matrices
        row = logits.squeeze(-3)
        stay = (row[..., ::2, :] - row[..., 1::2, :]).sigmoid()  # the softmax of a pair, [..., factor, token]
        swap = 1 - stay
        matrix = torch.ones_like(stay[..., :1, None, :])
        for k in range(stay.shape[-2]):
            p, q = stay[..., k, :], swap[..., k, :]
            factor = torch.stack([torch.stack([p, q], dim=-2), torch.stack([q, p], dim=-2)], dim=-3)
            matrix = torch.einsum("...abt,...cdt->...acbdt", matrix, factor).flatten(-3, -2).flatten(-4, -3)
        return matrix


@dataclass(frozen=True, kw_only=True, slots=True)
class TransportPolytope:
    """Entry by entry within what row and column sums of 1 still allow.

    x_ij = L + (U - L) sigmoid(logit_ij) for i, j < n, with U = min(r_i, c_j) and L = max(0, r_i - sum of later c,
    c_j - sum of later r) from what is left of row i and column j; the last row and column take the rest. The last row
    and column of the logits are not used. Source: TBP-mHC, arXiv 2605.21724.
    """

    eps: float = 1e-7
    """Least width U - L."""

    @property
    def exact_axes(self) -> tuple[int, ...]:
        """See `Constraint`."""
        return BOTH

    def finite_within(self, streams: int) -> FloatRange:
        """See `Constraint`; a sigmoid has no overflow."""
        del streams
        return -FLOAT32_MAX / 2, FLOAT32_MAX / 2

    def least_sum(self, streams: int) -> float:
        """See `Constraint`."""
        del streams
        return 1.0

    def apply(self, logits: Matrices, *, matrices: int = 0) -> Matrices:
        """See `Constraint`."""
        del matrices
        shares = logits.sigmoid()
        streams = logits.shape[-2]
        columns = [torch.ones_like(logits[..., 0, 0, :]) for _ in range(streams)]
        rows = []
        for i in range(streams - 1):
            left, row = torch.ones_like(columns[0]), []
            for j in range(streams - 1):
                later_columns = torch.stack(columns[j + 1 :]).sum(dim=0)
                later_rows = streams - 1 - i
                lower = torch.maximum(left - later_columns, columns[j] - later_rows).clamp(min=0)
                width = (torch.minimum(left, columns[j]) - lower).clamp(min=self.eps)
                entry = lower + width * shares[..., i, j, :]
                row.append(entry)
                left, columns[j] = left - entry, columns[j] - entry
            row.append(left)
            columns[-1] = columns[-1] - left
            rows.append(torch.stack(row, dim=-2))
        rows.append(torch.stack(columns, dim=-2))
        return torch.stack(rows, dim=-3)


NEWTON_SCHULZ = (
    (7.2086, -15.5131, 9.0178),
    (3.9623, -2.5813, 0.4542),
    (3.9466, -2.5765, 0.4544),
    (3.8991, -2.5671, 0.4566),
    (3.7186, -2.5308, 0.4653),
    (3.1390, -2.3073, 0.4733),
    (2.1715, -1.5246, 0.3885),
    (1.8648, -1.2224, 0.3577),
)
"""Coefficients (a, b, c) of X <- a X + (b A + c A A) X with A = X X^T, step by step."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Orthostochastic:
    """The squared entries of a matrix that Newton-Schulz steps made nearly orthogonal.

    Source: `orthostochastic_project` of tokenbender's mHC.
    """

    eps: float = 1e-7
    """Added to the Frobenius norm that the logits are divided by."""

    @property
    def exact_axes(self) -> tuple[int, ...]:
        """See `Constraint`; sums are 1 only as far as the steps converged."""
        return ()

    def finite_within(self, streams: int) -> FloatRange:
        """See `Constraint`; nothing bounds these matrices either."""
        del streams
        return -FLOAT32_MAX / 2, FLOAT32_MAX / 2

    def least_sum(self, streams: int) -> float:
        """See `Constraint`."""
        del streams
        return 0.0

    def apply(self, logits: Matrices, *, matrices: int = 0) -> Matrices:
        """See `Constraint`."""
        del matrices
        matrix: Tensor = logits.movedim(-1, -3)
        matrix = matrix / (torch.linalg.matrix_norm(matrix, keepdim=True) + self.eps)
        for a, b, c in NEWTON_SCHULZ:
            gram = matrix @ matrix.mT
            matrix = a * matrix + (b * gram + c * gram @ gram) @ matrix
        return matrix.square().movedim(-3, -1)


def coefficients_of(kind: type[PermutationMixture] | type[KroneckerPairs], streams: int) -> int:
    """Number of coefficients for n streams: n! or 2 log2 n."""
    return factorial(streams) if kind is PermutationMixture else 2 * (streams.bit_length() - 1)
