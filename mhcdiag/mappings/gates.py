"""H_pre and H_post of a site, input-independent part: with what weights its branch reads and writes the streams.

The branch reads sum_s H_pre[s] x[s] and adds H_post[t] times its output to stream t (arXiv 2512.24880, equation 3).
"""

from dataclasses import dataclass
from enum import StrEnum

import torch
from jaxtyping import Float
from torch import Tensor


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
