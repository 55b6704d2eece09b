"""Bounds on composite gains: what no input can exceed, in the definition `norm`."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from mhcdiag.kernels.composite.reference import gains, products, span_sums
from mhcdiag.mappings.inputs import LogitFactor
from mhcdiag.mappings.interface import Constraint
from mhcdiag.mappings.parametric import Activation, ParametricStack
from mhcdiag.mappings.sinkhorn_limits import FLOAT32_MAX
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
IDENTITY = "nothing is mixed: every mapping is the identity"
UNBOUNDED = (
    "nothing bounds the input-dependent part: there is no tanh, and static inputs do not read the projection "
    "(random ones do)"
)
ENTRYWISE = "norm of the product of M = |b| + |alpha| min(1, sqrt(d) |W column|), entry by entry; loose for deep stacks"
ENTRYWISE_STATIC = "norm of the product of M = |b| + |alpha|, entry by entry, since |tanh| <= 1; loose for deep stacks"
ENTRYWISE_LINEAR = "norm of the product of M = |b| + |alpha| sqrt(d) |W column|, entry by entry; loose for deep stacks"
SAME_FOR_ALL = "the mappings do not depend on the input: the gain itself, which is that of every token"
EXACT_SIDE = "a property of stochastic matrices, whatever the parameters: sums normalised last are at most 1"
BOTH_SIDES = "doubly stochastic by construction: no sum exceeds 1, whatever the parameters"
NOT_STOCHASTIC = "squares of a nearly orthogonal matrix: its sums are 1 only as far as the iteration converged"
INEXACT_SIDE = (
    "a property of stochastic matrices, whatever the parameters and however few the iterations: sums of the side "
    "normalised last are at most 1, which leaves the other side n for a composite; for one site "
)
ALWAYS_ONE = "n - 1 + 1/n"
NEVER_ONE = "n as well, since its eps lets sums stay far below 1 before the last step"
UNREAD = "the projection of the input was not read: it may hold NaN, or logits beyond all range"
"""Doubt about bounds of mappings whose input-dependent part is known by its scale alone."""


def parametric_bounds(parameters: ParametricStack) -> dict[Direction, Bound]:
    """Bounds of mappings that are computed from parameters, per direction; none where some input gives NaN."""
    recipe, sites = parameters.recipe, len(parameters.stack.sites)
    constraint, exact = recipe.constraint, recipe.exact_direction()
    if constraint is None:
        return _unconstrained(parameters) if parameters.input_dependent else _of_all_tokens(parameters)
    both = len(recipe.exact_directions()) == len(Direction)
    if exact is None and not both:
        return dict.fromkeys(Direction, no_bound(NOT_STOCHASTIC))
    doubt = overflow_doubt(parameters)
    if doubt and not (doubt == UNREAD and is_finite_for_any(constraint, parameters.stack.streams)):
        return dict.fromkeys(Direction, no_bound(doubt))
    if both:
        return dict.fromkeys(Direction, constant_bound(1.0, sites, BOTH_SIDES, by_layout=True))
    assert exact is not None
    least = constraint.least_sum(parameters.stack.streams)
    return {
        exact: constant_bound(1.0, sites, EXACT_SIDE, by_layout=True),
        _other(exact): _inexact_side(sites, parameters.stack.streams, least_sum=least),
    }


def _unconstrained(parameters: ParametricStack) -> dict[Direction, Bound]:
    entries = entry_bounds(parameters)
    if entries is None:
        return dict.fromkeys(Direction, no_bound(UNBOUNDED))
    return _entrywise(entries, parameters)


def _of_all_tokens(parameters: ParametricStack) -> dict[Direction, Bound]:
    """The gain itself, where the mappings are the same for every token."""
    return _norms(parameters.static().maps.double(), SAME_FOR_ALL, nonnegative=False)


def overflow_doubt(parameters: ParametricStack) -> str:
    """Why finite parameters may still give NaN or infinity for some input in float32; empty where they cannot.

    Finite inputs are taken for granted. Infinity turns into NaN in the next step: inf - inf, or inf / inf.
    """
    if parameters.input_dependent and parameters.factors is None:
        return UNREAD
    reach = _farthest(parameters)
    if not bool((reach <= FLOAT32_MAX).all()):  # so written, NaN is in doubt
        return "some input can make the projection overflow float32"
    tanh = parameters.recipe.activation is Activation.TANH
    added = parameters.scale.double().abs() * (reach.clamp(max=1.0) if tanh else reach)
    base = parameters.base.double().flatten(1)
    low, high = float((base.amin(dim=1) - added).min()), float((base.amax(dim=1) + added).max())
    constraint, streams = parameters.recipe.constraint, parameters.stack.streams
    least, most = (-FLOAT32_MAX, FLOAT32_MAX) if constraint is None else constraint.finite_within(streams)
    if low >= least and high <= most:
        return ""
    beyond, limit = (low, least) if high <= most else (high, most)
    return f"some input can make a logit of {beyond:.3g}, and mappings are finite in float32 up to {limit:.3g} only"


def is_finite_for_any(constraint: Constraint, streams: int) -> bool:
    """Whether no finite logits that a model could have give NaN."""
    low, high = constraint.finite_within(streams)
    return min(-low, high) > ANY_LOGIT


ANY_LOGIT = 1e30
"""Beyond any logit of a model."""


def _farthest(parameters: ParametricStack) -> Float[Tensor, " site"]:
    """Largest absolute value of any projected input, per site."""
    if parameters.factors is None:
        return torch.zeros(len(parameters.base), dtype=torch.float64)
    reach = torch.stack([factor.column_norms().amax() * factor.inputs**0.5 for factor in parameters.factors]).double()
    return reach if parameters.offset is None else reach + parameters.offset.double().abs().amax(dim=1)


def no_bound(why: str) -> Bound:
    """The record of a direction that nothing bounds."""
    return Bound(single=None, prefix=None, suffix=None, worst=None, why=why)


def constant_bound(value: float, sites: int, why: str, *, by_layout: bool = False) -> Bound:
    """The same bound for every site and composite."""
    curve = (value,) * sites
    return Bound(single=curve, prefix=curve, suffix=curve, worst=value, why=why, by_layout=by_layout)


def _other(direction: Direction) -> Direction:
    return Direction.BACKWARD if direction is Direction.FORWARD else Direction.FORWARD


def _inexact_side(sites: int, streams: int, *, least_sum: float) -> Bound:
    """Bounds of the side that was normalised last but one.

    Parameters
    ----------
    least_sum
        How small its sums can be before the last step, with the largest as 1.
    """
    # With rows normalised last: a column i reaches the most where one row holds all other columns. n - 1 rows then give
    # it 1 each, and that row its own sum of at most 1 over all sums there, 1 + (n - 1) least_sum at least. The entries
    # of a composite sum to n, and no column can have more.
    one_site, composite = streams - 1 + 1 / (1 + (streams - 1) * least_sum), float(streams)
    return Bound(
        single=(one_site,) * sites,
        prefix=(one_site, *(composite,) * (sites - 1)),
        suffix=(*(composite,) * (sites - 1), one_site),
        worst=composite if sites > 1 else one_site,
        why=INEXACT_SIDE + (ALWAYS_ONE if least_sum > 0.5 else NEVER_ONE),
        by_layout=True,
    )


def _entrywise(entries: Float[Tensor, "site stream stream"], parameters: ParametricStack) -> dict[Direction, Bound]:
    return entrywise_bounds(list(entries), why=_why(parameters))


def entrywise_bounds(entries: Sequence[Float[Tensor, "stream stream"]], *, why: str) -> dict[Direction, Bound]:
    """Norms of all products of the largest absolute entries, site by site."""
    return _norms(torch.stack(list(entries)).unsqueeze(-1), why, nonnegative=True)


def _norms(maps: Float[Tensor, "site stream stream 1"], why: str, *, nonnegative: bool) -> dict[Direction, Bound]:
    """Norms of the products of one mapping per site."""
    if not bool(torch.isfinite(maps).all()):
        return dict.fromkeys(Direction, no_bound("the parameters hold NaN or infinity"))
    curves = {kind: gains(each, nonnegative=nonnegative) for kind, each in products(maps).items()}
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
    if parameters.factors is None:
        return ENTRYWISE_STATIC
    return ENTRYWISE if parameters.recipe.activation is Activation.TANH else ENTRYWISE_LINEAR
