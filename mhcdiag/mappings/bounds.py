"""What no input can exceed: bounds on composite gains that follow from parameters or from stochasticity alone."""

import torch
from jaxtyping import Float
from torch import Tensor

from mhcdiag.mappings.inputs import LogitFactor
from mhcdiag.mappings.parametric import Activation, ParametricStack


def entry_bounds(parameters: ParametricStack) -> Float[Tensor, "site stream stream"] | None:
    """Largest absolute value of each entry of unconstrained mappings, over all inputs.

    M = |b| + |alpha| min(1, sqrt(d) |W column|): the norm makes the input a vector of length sqrt(d), and tanh cannot
    exceed 1. Without tanh the 1 is left out; where the projection was not read, only the 1 is known.

    Returns
    -------
    tensor or None
        M in the orientation x_new = H x, float64; None where nothing bounds the input-dependent part.
    """
    static = parameters.base.double().abs()
    scale = parameters.scale.double().abs()[:, None, None]
    tanh = parameters.recipe.activation is Activation.TANH
    if not parameters.input_dependent:
        reach = torch.zeros_like(static)
    elif parameters.factors is not None:
        reach = torch.stack([_reach(parameters, factor) for factor in parameters.factors])
        if parameters.offset is not None:
            reach = reach + parameters.offset.double().abs()[:, None, :]
        reach = reach.clamp(max=1.0) if tanh else reach
    elif tanh:
        reach = torch.ones_like(static)
    else:
        return None
    return parameters.recipe.orient((static + scale * reach).unsqueeze(-1)).squeeze(-1)


def _reach(parameters: ParametricStack, factor: LogitFactor) -> Float[Tensor, "row column"]:
    """Largest absolute value of each projected input."""
    streams = parameters.stack.streams
    lengths: Tensor = factor.column_norms() * factor.inputs**0.5
    if parameters.recipe.norm.per_stream:
        return lengths.expand(streams, streams)
    return lengths.view(streams, streams)
