"""What a measurement needs to know of a stack of residual mappings, wherever they come from.

Nothing here imports a kernel, so that records of health checks and layouts can name these types cheaply.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from torch import Tensor

CHUNK_TOKENS = 4096
"""Tokens that are drawn, mapped and composed at a time; fixed, so that numbers do not depend on memory or devices."""


class Orientation(StrEnum):
    """What the rows of a stored matrix A stand for."""

    TARGET_ROWS = "target-rows"
    """Row = target stream: H = A."""
    SOURCE_ROWS = "source-rows"
    """Row = source stream: H = A transposed."""


@runtime_checkable
class Constraint(Protocol):
    """One way to constrain a matrix of logits: `constraints.py` iterates, `birkhoff.py` needs no iteration."""

    @property
    def exact_axes(self) -> tuple[int, ...]:
        """Which of `ROWS` and `COLUMNS` have sums of exactly 1, in the stored orientation."""

    def finite_within(self, streams: int) -> tuple[float, float]:
        """Smallest and largest logit within which float32, in which implementations compute, gives finite matrices."""

    def least_sum(self, streams: int) -> float:
        """Lower bound on the sums that the last normalisation but one was to make 1, with the largest as 1."""

    def apply(self, logits: "Tensor", *, matrices: int = 0) -> "Tensor":
        """Constrain logits.

        Parameters
        ----------
        logits
            One matrix, or one row of coefficients, per token: [..., row, column, token].
        matrices
            How many come in all calls together: for many of them a compiled iteration pays.

        Returns
        -------
        Tensor
            The constrained matrices [..., row, column, token], in the element type of the logits.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Stack:
    """The sites of one model, in depth order."""

    sites: tuple[str, ...]
    """Names, e.g. "0.attn"."""
    tensors: tuple[str, ...]
    """Per site, the tensor that a message about its mapping names."""
    streams: int
    """Number n of residual streams."""


@runtime_checkable
class MapSource(Protocol):
    """Residual mappings of a stack, for a number of tokens, served in chunks."""

    @property
    def stack(self) -> Stack:
        """The sites."""

    @property
    def tokens(self) -> int:
        """Number of tokens."""

    def chunk(self, start: int, stop: int, *, device: str = "cpu") -> "Float[Tensor, 'site stream stream token']":
        """H_res of tokens start..stop-1 in the convention x_new = H x, in any order of axes in memory.

        They are computed on `device` and stay there. `start` must be a multiple of `CHUNK_TOKENS`, and `stop` at most
        `CHUNK_TOKENS` above it.
        """


class GateActivation(StrEnum):
    """How logits become read and write weights."""

    SIGMOID = "sigmoid"
    """Each on its own, as in mHC (arXiv 2512.24880, equation 8)."""
    SOFTMAX = "softmax"
    """Together, so that they add up to 1."""
    NONE = "none"
    """Not at all, as in hyper-connections."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteGates:
    """The input-independent part of one site's read and write weights."""

    pre: Float[Tensor, " stream"]
    """Logits of H_pre; with `GateActivation.NONE` H_pre itself."""
    post: Float[Tensor, " stream"]
    """The same of H_post."""
    gate: GateActivation = GateActivation.SIGMOID
    """How they become weights."""

    def reads(self) -> Float[Tensor, " stream"]:
        """|H_pre| in float64."""
        return self._weights(self.pre)

    def writes(self) -> Float[Tensor, " stream"]:
        """|H_post| in float64, up to a factor that all streams share.

        mHC doubles the sigmoid of H_post and hyper-connections do not: the checks compare streams with one another, so
        the factor drops out.
        """
        return self._weights(self.post)

    def _weights(self, logits: Tensor) -> Float[Tensor, " stream"]:
        if self.gate is GateActivation.SIGMOID:
            return torch.sigmoid(logits.double())
        if self.gate is GateActivation.SOFTMAX:
            return logits.double().softmax(dim=0)
        return logits.double().abs()
