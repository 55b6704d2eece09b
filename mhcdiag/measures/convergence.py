"""How many Sinkhorn iterations matrices need, by iterating on.

A prediction from the second singular value sigma2 of the limit (each iteration multiplies the error by sigma2^2, Knight
2008) is that of the last stretch alone, and of the mapping as it is: it said 6,436 where 361 iterations do. The matrix
that t iterations leave is where iteration t + 1 begins, so that going on from it needs no logits.
"""

from dataclasses import dataclass
from math import inf

import torch
from jaxtyping import Float
from torch import Tensor

from mhcdiag.kernels.sinkhorn.interface import Guard

MOST_MORE = 2000
_MOST_DIVISIONS = 2_000_000_000
"""Elements times iterations: some seconds on one core, whatever the number of sites and tokens."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Needed:
    """Iterations until the sums of the side that is not normalised last are 1."""

    mean: tuple[float, ...]
    """Per site, until the token mean of max |sum - 1| is at most the tolerance; infinite where `most` do not do."""
    every_token: tuple[float, ...]
    """Per site, until that of every token is."""
    made: int
    """Iterations that the matrices come from; where they do, that is the number given, though fewer may do, too."""
    most: int
    """Iterations after which the count was given up."""


def iterations_needed(
    maps: Float[Tensor, "site stream stream token"],
    *,
    exact: int,
    tolerance: float,
    made: int = 0,
    eps: float = 0.0,
    guard: Guard = Guard.FLOOR,
) -> Needed:
    """Iterate on until every site has converged.

    Parameters
    ----------
    maps
        Matrices after `made` iterations.
    exact
        The axis of the sums that the last step made 1: 1 for columns, 2 for rows.
    tolerance
        Of |sum - 1|.
    made
        Iterations behind them; 0 where nobody knows, and the numbers are then those of further ones.
    eps, guard
        Of the iteration's denominators.
    """
    more = min(MOST_MORE, max(20, _MOST_DIVISIONS // max(maps.numel(), 1)))
    mean, every = [inf] * len(maps), [inf] * len(maps)
    left = list(range(len(maps)))
    current = maps
    for count in range(made, made + more + 1):
        residual = (current.sum(dim=3 - exact) - 1).abs().amax(dim=1)
        means, largest = residual.mean(dim=1).tolist(), residual.amax(dim=1).tolist()
        for place, site in enumerate(left):
            mean[site] = float(count) if mean[site] == inf and means[place] <= tolerance else mean[site]
            every[site] = float(count) if largest[place] <= tolerance else every[site]
        kept = [place for place, site in enumerate(left) if every[site] == inf]
        if not kept:
            break
        if len(kept) < len(left):
            left, current = [left[place] for place in kept], current[torch.tensor(kept)]
        for axis in (3 - exact, exact):
            current = _divided(current, axis, eps, guard)
    return Needed(mean=tuple(mean), every_token=tuple(every), made=made, most=made + more)


def _divided(maps: Tensor, axis: int, eps: float, guard: Guard) -> Tensor:
    sums = maps.sum(dim=axis, keepdim=True)
    if guard is Guard.ADDED:
        return maps / (sums + eps)
    if guard is Guard.SKIP:
        return torch.where(sums > eps, maps / sums, maps)
    return maps / sums.clamp(min=eps)
