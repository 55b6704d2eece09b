"""What every implementation of the Sinkhorn-Knopp iteration takes and gives back."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from mhcdiag.kernels.sinkhorn_rule import SinkhornRule

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
