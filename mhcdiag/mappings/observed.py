"""What is known of a site beside H_res: its read and write weights, and what a running model did there."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteGates:
    """The input-independent part of one site's read and write weights."""

    pre: Float[Tensor, " stream"]
    """Logits of H_pre."""
    post: Float[Tensor, " stream"]
    """Logits of H_post."""


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
