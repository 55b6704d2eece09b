"""What is known of a site beside H_res: its read and write weights, and what a running model did there."""

from dataclasses import dataclass
from enum import StrEnum

import torch
from jaxtyping import Float
from torch import Tensor


class Gate(StrEnum):
    """How logits become read and write weights."""

    SIGMOID = "sigmoid"
    """Each on its own, as in mHC."""
    SOFTMAX = "softmax"
    """Together, so that they add up to 1."""
    NONE = "none"
    """Not at all, as in hyper-connections."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteGates:
    """The input-independent part of one site's read and write weights."""

    pre: Float[Tensor, " stream"]
    """Logits of H_pre; with `Gate.NONE` H_pre itself."""
    post: Float[Tensor, " stream"]
    """The same of H_post."""
    gate: Gate = Gate.SIGMOID
    """How they become weights."""

    def reads(self) -> Float[Tensor, " stream"]:
        """|H_pre| in float64."""
        return self._weights(self.pre)

    def writes(self) -> Float[Tensor, " stream"]:
        """|H_post| in float64, up to a factor that all streams share."""
        return self._weights(self.post)

    def _weights(self, logits: Tensor) -> Float[Tensor, " stream"]:
        if self.gate is Gate.SIGMOID:
            return torch.sigmoid(logits.double())
        return logits.double().softmax(dim=0) if self.gate is Gate.SOFTMAX else logits.double().abs()


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteActivations:
    """What a running model did at one site, for its first tokens."""

    h_res: Float[Tensor, "token stream stream"]
    """H_res as captured, x_new = H x."""
    x_in: Float[Tensor, "token stream width"]
    """Streams before the site."""
    x_out: Float[Tensor, "token stream width"] | None = None
    """Streams after it."""
    branch: Float[Tensor, "token width"] | None = None
    """What the branch returned."""
    post: Float[Tensor, "token stream"] | None = None
    """Weights with which it was written back."""
