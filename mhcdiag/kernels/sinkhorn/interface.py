"""What one finite Sinkhorn-Knopp iteration does: where it starts, which side it normalises first, how eps guards.

All variants (arXiv 2512.24880, equation 9) normalise the two sides in turn. The side that is normalised last has sums
of 1; the other one carries the error.

Adding an implementation is one file here with a frozen dataclass that has the attributes of `SinkhornKernel` and a
`name` of its own, and one entry in `SINKHORN_KERNELS` (`normalise.py`). It must give the numbers of `ReferenceSinkhorn`
to rounding, for every rule, any strides and any number of tokens (`tests/kernels`).
"""

from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

ROWS, COLUMNS = -2, -3
"""The axis of [..., row, column, token] that is summed over to normalise rows and columns."""


class Guard(StrEnum):
    """How eps keeps a denominator from being zero."""

    ADDED = "added"
    """sum + eps."""
    FLOOR = "floor"
    """max(sum, eps)."""
    SKIP = "skip"
    """Nothing is divided where sum <= eps."""


class Start(StrEnum):
    """How logits become the positive matrix that is normalised."""

    SOFTMAX = "softmax"
    """Softmax over the axis that is not `first`, plus eps; it stands for the first normalisation of that side."""
    EXP = "exp"
    """The exponential of the logits, cut off and shifted as the rule says."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SinkhornRule:
    """One variant of the iteration, over matrices [..., row, column, token]."""

    iterations: int = 20
    """t_max, at least 1; both sides are normalised once in each."""
    eps: float = 1e-6
    """Guards the denominators; `Start.SOFTMAX` adds it to the start, too."""
    start: Start = Start.SOFTMAX
    """From logits to a positive matrix."""
    first: int = COLUMNS
    """The axis that is summed over in the first step after the start, `ROWS` or `COLUMNS`."""
    guard: Guard = Guard.ADDED
    """What eps does in a denominator."""
    shift: tuple[int, ...] = ()
    """For `Start.EXP`: axes over which the maximum is subtracted first; () lets large logits overflow."""
    limit: float = inf
    """For `Start.EXP`: logits are cut off at plus and minus this before the shift."""

    @property
    def second(self) -> int:
        """The axis that is not `first`."""
        return ROWS if self.first == COLUMNS else COLUMNS

    @property
    def steps(self) -> int:
        """Normalisations of one side after the start."""
        return 2 * self.iterations - (1 if self.start is Start.SOFTMAX else 0)

    @property
    def last(self) -> int:
        """The axis whose sums are 1 in the end."""
        return self.axis(self.steps - 1)

    @property
    def has_gradient(self) -> bool:
        """Whether the kernels know its gradient: that of the softmax start with eps added."""
        return self.start is Start.SOFTMAX and self.guard is Guard.ADDED

    def axis(self, step: int) -> int:
        """The axis that is summed over in one step, counted from 0."""
        return self.second if step % 2 else self.first


Matrices = Float[Tensor, "matrix row column token"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Normalised:
    """A result, and what its gradient needs."""

    result: Matrices
    """The normalised matrices."""
    start: Matrices | None = None
    """The softmax of the logits, without eps; None unless it was to be kept."""
    sums: Float[Tensor, "matrix step line token"] | None = None
    """The denominators of every step; None unless they were to be kept."""


@runtime_checkable
class SinkhornKernel(Protocol):
    """One implementation, forward and backward.

    Logits in half precision are computed in float32. For one normalisation Y = K / s, s = sum(K) + eps along one
    axis, the gradient is dK = (dY - sum(dY * Y)) / s, and K = Y * s: the way back needs nothing but the result and the
    sums of each step, 2 n t_max numbers per token.
    """

    @property
    def name(self) -> str:
        """As it is shown to users."""

    def forward(self, logits: Matrices, rule: SinkhornRule, *, keep: bool) -> Normalised:
        """The normalised matrices: in the element type of the logits, or of the computation where `keep`.

        Parameters
        ----------
        logits
            One matrix per token, any strides; they are not changed.
        rule
            The variant.
        keep
            Whether `backward` will be asked for.
        """

    def backward(self, gradient: Matrices, kept: Normalised, rule: SinkhornRule) -> Matrices:
        """The gradient of the logits from that of the result, for rules that have one, in the type of the result."""
