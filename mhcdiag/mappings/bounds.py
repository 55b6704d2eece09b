"""Bounds on composite gains: what no input can exceed, in the definition `norm`."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from mhcdiag.kernels.composite.reference import gains, products, span_sums
from mhcdiag.mappings.inputs import LogitFactor
from mhcdiag.mappings.parametric import Activation, ParametricStack
from mhcdiag.results.gain import Bound, Definition, Direction, Kind


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


CAPTURED = "captured mappings are what some tokens saw; they bound nothing for other inputs"
DOUBLY_STOCHASTIC = "rows and columns sum to 1 by construction, whatever the parameters"
IDENTITY = "nothing is mixed: every mapping is the identity"
UNBOUNDED = (
    "nothing bounds the input-dependent part: there is no tanh, and static inputs do not read the projection "
    "(random ones do)"
)
ENTRYWISE = "norm of the product of M = |b| + |alpha| min(1, sqrt(d) |W column|), entry by entry; loose for deep stacks"
ENTRYWISE_STATIC = "norm of the product of M = |b| + |alpha|, entry by entry, since |tanh| <= 1; loose for deep stacks"
ENTRYWISE_LINEAR = "norm of the product of M = |b| + |alpha| sqrt(d) |W column|, entry by entry; loose for deep stacks"
CONSTANT = "no mapping depends on the input: norm of the product of |H|, entry by entry"
EXACT_SIDE = "a property of stochastic matrices, whatever the parameters: sums normalised last are at most 1"
BOTH_SIDES = "doubly stochastic by construction: no sum exceeds 1, whatever the parameters"
NOT_STOCHASTIC = "squares of a nearly orthogonal matrix: its sums are 1 only as far as the iteration converged"
INEXACT_SIDE = (
    "a property of stochastic matrices, whatever the parameters and however few the iterations: sums of the side "
    "normalised last are at most 1, which leaves the other side n - 1 + 1/n for one site and n for a composite"
)


def parametric_bounds(parameters: ParametricStack) -> dict[Direction, Bound]:
    """Bounds of mappings that are computed from parameters, per direction."""
    if len(parameters.recipe.exact_directions()) == len(Direction):
        return dict.fromkeys(Direction, constant_bound(1.0, len(parameters.stack.sites), BOTH_SIDES))
    exact = parameters.recipe.exact_direction()
    if exact is None and parameters.recipe.constraint is not None:
        return dict.fromkeys(Direction, no_bound(NOT_STOCHASTIC))
    if exact is not None:
        sites, streams = len(parameters.stack.sites), parameters.stack.streams
        return {
            direction: _stochastic(sites, streams, exact=direction is exact) for direction in (exact, _other(exact))
        }
    entries = entry_bounds(parameters)
    if entries is None:
        return dict.fromkeys(Direction, no_bound(UNBOUNDED))
    return _entrywise(entries, parameters)


def no_bound(why: str) -> Bound:
    """The record of a direction that nothing bounds."""
    return Bound(single=None, prefix=None, suffix=None, worst=None, why=why)


def constant_bound(value: float, sites: int, why: str) -> Bound:
    """The same bound for every site and composite."""
    curve = (value,) * sites
    return Bound(single=curve, prefix=curve, suffix=curve, worst=value, why=why)


def _other(direction: Direction) -> Direction:
    return Direction.BACKWARD if direction is Direction.FORWARD else Direction.FORWARD


def _stochastic(sites: int, streams: int, *, exact: bool) -> Bound:
    """Bounds of mappings whose sums are 1 on the side that was normalised last."""
    if exact:
        return constant_bound(1.0, sites, EXACT_SIDE)
    # With rows normalised last: a column reaches this where one row holds all other columns. n - 1 rows then give it 1
    # each, and that row 1/n. The entries of a composite sum to n, and no column can have more.
    one_site, composite = streams - 1 + 1 / streams, float(streams)
    return Bound(
        single=(one_site,) * sites,
        prefix=(one_site, *(composite,) * (sites - 1)),
        suffix=(*(composite,) * (sites - 1), one_site),
        worst=composite if sites > 1 else one_site,
        why=INEXACT_SIDE,
    )


def _entrywise(entries: Float[Tensor, "site stream stream"], parameters: ParametricStack) -> dict[Direction, Bound]:
    return entrywise_bounds(list(entries), why=_why(parameters))


def entrywise_bounds(entries: Sequence[Float[Tensor, "stream stream"]], *, why: str) -> dict[Direction, Bound]:
    """Norms of all products of the largest absolute entries, site by site."""
    maps = torch.stack(list(entries)).unsqueeze(-1)
    if not bool(torch.isfinite(maps).all()):
        return dict.fromkeys(Direction, no_bound("the parameters hold NaN or infinity"))
    curves = {kind: gains(each, nonnegative=True) for kind, each in products(maps).items()}
    spans = span_sums(maps)
    found = {}
    for direction in Direction:
        key = (direction, Definition.NORM)
        single, prefix, suffix = (curves[kind][key].sum_tokens().numbers() for kind in Kind)
        matrix = [spans[key][a].numbers() for a in range(maps.shape[0])]
        worst = max(row[b] for a, row in enumerate(matrix) for b in range(a, len(row)))
        found[direction] = Bound(single=single, prefix=prefix, suffix=suffix, worst=worst, why=why)
    return found


def _why(parameters: ParametricStack) -> str:
    if not parameters.input_dependent:
        return CONSTANT
    if parameters.factors is None:
        return ENTRYWISE_STATIC
    return ENTRYWISE if parameters.recipe.activation is Activation.TANH else ENTRYWISE_LINEAR
