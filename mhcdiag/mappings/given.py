"""Mappings of given streams: what an implementation of a layout must compute for them."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mhcdiag.mappings.inputs import project
from mhcdiag.mappings.parametric import Activation, ParametricStack, finish


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """What weights say of the captured sites under one reading of them."""

    h_res: tuple[Float[Tensor, "token stream stream"], ...]
    """Per site."""
    post: tuple[Float[Tensor, "token stream"] | None, ...]
    """Per site, where the layout's records tell which logits those are."""


def given_maps(
    parameters: ParametricStack, projection: Tensor | None, x: Float[Tensor, "token stream width"]
) -> Float[Tensor, "token stream stream"]:
    """H_res of the first site for these streams.

    Parameters
    ----------
    projection
        W [n*C, logit] of a flattened norm or [C, logit] of one per stream, norm weight folded in; None where nothing
        depends on the input.
    """
    recipe, (rows, columns) = parameters.recipe, parameters.base.shape[-2:]
    logits = parameters.base[0].unsqueeze(-1).expand(recipe.proposals, rows, columns, len(x))
    if projection is not None:
        if recipe.norm.per_stream:
            projected = project(x.flatten(0, 1), projection.float(), recipe.norm)
            moving = projected.view(len(x), rows, recipe.proposals, columns).permute(2, 1, 3, 0)
        else:
            projected = project(x.flatten(1), projection.float(), recipe.norm)
            moving = projected.T.reshape(recipe.proposals, rows, columns, -1)
        if recipe.activation is Activation.TANH:
            moving = torch.tanh(moving)
        logits = logits + parameters.scale[0] * moving
    return finish(logits.clone()[None], parameters, slice(0, 1))[0].permute(2, 0, 1).float()
