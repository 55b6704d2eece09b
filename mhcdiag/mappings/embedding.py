"""Mappings of the first site, token id by token id, where all streams begin as copies of the embedding."""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from mhcdiag.mappings.inputs import project
from mhcdiag.mappings.interface import Stack
from mhcdiag.mappings.parametric import Activation, ParametricStack, finish


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingMaps:
    """H_res of the first site for token ids 0 .. tokens-1.

    With x = [e; ...; e] the projection of n*C inputs folds into one of C: z = (sum_k W_k)^T e / rms(e).
    """

    parameters: ParametricStack
    """Of the first site alone."""
    folded: Float[Tensor, "width logit"]
    """Sum over streams of the projection's rows, norm weight folded in."""
    rows: Callable[[int, int], Tensor]
    """Embeddings [token, width] of a range of token ids."""
    tokens: int

    @property
    def stack(self) -> Stack:
        """The one site."""
        return self.parameters.stack

    def chunk(self, start: int, stop: int, *, device: str = "cpu") -> Float[Tensor, "site stream stream token"]:
        """The mappings of token ids start..stop-1."""
        recipe = self.parameters.recipe
        assert recipe.activation is Activation.NONE
        projected = project(self.rows(start, stop).float(), self.folded.float(), recipe.norm).T
        rows, columns = self.parameters.base.shape[-2:]
        logits = projected.reshape(rows, columns, -1).to(device) * self.parameters.scale[0].to(device)
        logits = logits + self.parameters.base[0].unsqueeze(-1).to(device)
        return finish(logits[None, None], self.parameters, slice(0, 1), matrices=self.tokens)


def fold_streams(projection: Float[Tensor, "input logit"], streams: int) -> Float[Tensor, "width logit"]:
    """The projection as inputs see it that are the same in all streams."""
    return projection.view(streams, -1, projection.shape[1]).sum(dim=0)
