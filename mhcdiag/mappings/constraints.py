"""How implementations turn logits into (nearly) doubly stochastic matrices by finite Sinkhorn-Knopp iterations.

All of them (arXiv 2512.24880, equation 9) differ in the start, in the order of the two normalisations and in how eps
guards a denominator. The side that is normalised last is exact; the other one carries the error. Matrices are held as
[..., row, column, token], tokens contiguous, in the orientation in which the implementation stores them.
`birkhoff.py` holds those that need no iteration.
"""

from dataclasses import dataclass
from enum import StrEnum
from math import inf
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
    def exact_axes(self) -> tuple[int, ...]:
        """Which of `ROWS` and `COLUMNS` have sums of exactly 1, in the stored orientation."""

    def apply(self, logits: Tensor) -> Tensor:
        """The constrained matrices [..., row, column, token], in the element type of the logits."""


class Guard(StrEnum):
    """How eps keeps a denominator from being zero."""

    ADDED = "added"
    """sum + eps."""
    FLOOR = "floor"
    """max(sum, eps)."""
    SKIP = "skip"
    """Nothing is divided where sum <= eps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SoftmaxSinkhorn:
    """Row softmax plus eps, then columns, then (rows, columns) for the remaining iterations; eps in every denominator.

    Source: `hc_split_sinkhorn` of DeepSeek-V4's inference code and `transformers` (deepseek_v4, glm5_next).
    """

    iterations: int = 20
    eps: float = 1e-6

    @property
    def exact_axes(self) -> tuple[int, ...]:
        """See `Constraint`."""
        return (COLUMNS,)

    def apply(self, logits: Logits) -> Logits:
        """See `Constraint`."""
        matrix = logits.softmax(dim=ROWS).add_(self.eps)
        _normalise(matrix, COLUMNS, self.eps, Guard.ADDED)
        for _ in range(self.iterations - 1):
            _normalise(matrix, ROWS, self.eps, Guard.ADDED)
            _normalise(matrix, COLUMNS, self.eps, Guard.ADDED)
        return matrix


@dataclass(frozen=True, kw_only=True, slots=True)
class ExpSinkhorn:
    """exp, then both normalisations per iteration.

    The defaults are `sinkhorn_knopps` of the package `hyper-connections` (mHC, mHCv2); the layouts that differ say
    how. Its log-domain variant agrees to rounding.
    """

    iterations: int = 20
    eps: float = 1e-12
    first: int = COLUMNS
    """The axis that each iteration normalises first; the other one is exact."""
    guard: Guard = Guard.FLOOR
    shift: tuple[int, ...] = (COLUMNS,)
    """Axes over which the maximum is subtracted before exp; () subtracts nothing, so that large logits overflow."""
    limit: float = inf
    """Logits are cut off at plus and minus this."""

    @property
    def exact_axes(self) -> tuple[int, ...]:
        """See `Constraint`."""
        return (self._last,)

    @property
    def _last(self) -> int:
        return ROWS if self.first == COLUMNS else COLUMNS

    def apply(self, logits: Logits) -> Logits:
        """See `Constraint`."""
        logits = logits.clamp(-self.limit, self.limit)
        if self.shift:
            logits -= logits.amax(dim=self.shift, keepdim=True)
        matrix = logits.exp_()
        for _ in range(self.iterations):
            _normalise(matrix, self.first, self.eps, self.guard)
            _normalise(matrix, self._last, self.eps, self.guard)
        return matrix


@dataclass(frozen=True, kw_only=True, slots=True)
class LogSinkhorn:
    """The iteration on logarithms, which underflows nowhere on the way; logits are divided by a temperature first.

    Source: `sinkhorn_log` of tokenbender's mHC (rows first) and `sinkhorn_knopps` of mhc-lite's mhc.py (columns first).
    """

    iterations: int
    first: int
    temperature: float = 1.0

    @property
    def exact_axes(self) -> tuple[int, ...]:
        """See `Constraint`."""
        return (self._last,)

    @property
    def _last(self) -> int:
        return ROWS if self.first == COLUMNS else COLUMNS

    def apply(self, logits: Logits) -> Logits:
        """See `Constraint`."""
        logs = logits / self.temperature
        for _ in range(self.iterations):
            logs = logs - logs.logsumexp(dim=self.first, keepdim=True)
            logs = logs - logs.logsumexp(dim=self._last, keepdim=True)
        return logs.exp_()


def _normalise(matrix: Logits, axis: int, eps: float, guard: Guard) -> None:
    sums = matrix.sum(dim=axis, keepdim=True)
    if guard is Guard.ADDED:
        sums.add_(eps)
    elif guard is Guard.FLOOR:
        sums.clamp_(min=eps)
    else:
        sums.masked_fill_(sums <= eps, 1.0)
    matrix /= sums
