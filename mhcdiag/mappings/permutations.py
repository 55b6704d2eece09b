"""Exactly doubly stochastic matrices without iterations: convex combinations of permutations (Birkhoff's theorem)."""

from dataclasses import dataclass
from functools import cache
from itertools import permutations

import torch
from jaxtyping import Float
from torch import Tensor


@cache
def permutation_matrices(streams: int) -> Float[Tensor, "permutation row column"]:
    """All n! permutation matrices in lexicographic order, the identity first: P_k[i, pi_k(i)] = 1."""
    identity = torch.eye(streams)
    return torch.stack([identity[list(order)] for order in permutations(range(streams))])


@dataclass(frozen=True, kw_only=True, slots=True)
class PermutationMixture:
    """softmax(logits) as weights of all permutation matrices; logits are [..., permutation, 1, token].

    Source: mHC-lite, arXiv 2601.05732.
    """

    streams: int
    """Number n of streams."""
    iterations: int = 1
    exact_axis: None = None

    def apply(self, logits: Float[Tensor, "*batch permutation 1 token"]) -> Float[Tensor, "*batch row column token"]:
        """See `Constraint`."""
        matrices = permutation_matrices(self.streams).to(logits)
        return torch.einsum("...kt,kij->...ijt", logits.squeeze(-2).softmax(dim=-2), matrices)
