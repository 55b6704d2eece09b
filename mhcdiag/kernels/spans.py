"""Gains of the composite over every stretch of sites: P(a,b) for all a <= b."""

import torch
from jaxtyping import Float
from torch import Tensor

from mhcdiag.kernels.composites import gains
from mhcdiag.kernels.scaled import Scaled, multiply, needs_scaling, normalise
from mhcdiag.results.gain import Definition, Direction, SpanKey

BLOCK_VALUES = 1 << 17
"""Numbers that are held at once: 1 MB in float64, so that one block of tokens stays in the cache of a core."""

Maps = Float[Tensor, "site stream stream token"]


def span_sums(maps: Maps) -> dict[SpanKey, Scaled]:
    """Sum over tokens of the gain of P(a,b), for all a <= b.

    Parameters
    ----------
    maps
        H_res per site and token in the convention x_new = H x, in the element type of the products.

    Returns
    -------
    dict
        Per (direction, definition) a matrix [a, b]; NaN below the diagonal.
    """
    sites, streams, _, tokens = maps.shape
    nonnegative = bool((maps >= 0).all()) and not needs_scaling(maps)
    values_per_token = sites * streams * (1 if nonnegative else streams)
    block = max(16, BLOCK_VALUES // values_per_token)
    total: dict[SpanKey, Scaled] = {}
    for start in range(0, tokens, block):
        piece = maps[..., start : start + block].contiguous()
        sums = _sums_nonnegative(piece) if nonnegative else _sums(piece)
        total = {key: total[key] + found for key, found in sums.items()} if total else sums
    return total


def _sums_nonnegative(maps: Maps) -> dict[SpanKey, Scaled]:
    """Row and column sums are all it takes where no entry is negative: vectors instead of matrices.

    The row sums of P(a,b) are H_b times those of P(a,b-1). Reversing the sites and transposing the mappings turns
    column sums into row sums.
    """
    forward = _row_sum_gains(maps)
    backward = _row_sum_gains(maps.flip(0).transpose(1, 2)).flip(0, 1).T
    by_direction = {Direction.FORWARD: Scaled(forward, None), Direction.BACKWARD: Scaled(backward, None)}
    return {(direction, definition): by_direction[direction] for direction in Direction for definition in Definition}


def _row_sum_gains(maps: Maps) -> Float[Tensor, "site site"]:
    sites, streams, _, tokens = maps.shape
    sums = maps.new_ones(sites, streams, tokens)  # entry a holds the row sums of P(a,b) for the current b
    found = maps.new_full((sites, sites), torch.nan)
    for b, mapping in enumerate(maps):
        sums[: b + 1] = multiply(mapping, sums[: b + 1, :, None])[:, :, 0]
        found[: b + 1, b] = sums[: b + 1].amax(dim=1).sum(dim=-1)
    return found


def _sums(maps: Maps) -> dict[SpanKey, Scaled]:
    sites = maps.shape[0]
    stack = torch.empty_like(maps)  # entry a holds P(a,b) for the current b
    exponents = torch.zeros_like(maps[:, :1, :1]) if needs_scaling(maps) else None
    columns: dict[SpanKey, list[Scaled]] = {}
    for b in range(sites):
        stack[b] = maps[b]
        stack[:b] = multiply(maps[b], stack[:b])
        if exponents is not None:
            grown = normalise(stack[: b + 1], exponents[: b + 1])
            assert grown.exponent is not None
            stack[: b + 1], exponents[: b + 1] = grown.mantissa, grown.exponent
        upto_b = Scaled(stack[: b + 1], None if exponents is None else exponents[: b + 1])
        for key, gain in gains(upto_b).items():
            columns.setdefault(key, []).append(gain.sum_tokens())
    return {key: _as_matrix(found) for key, found in columns.items()}


def _as_matrix(columns: list[Scaled]) -> Scaled:
    """Columns of growing length as the upper triangle of a matrix."""
    size = len(columns)
    mantissa = columns[0].mantissa.new_full((size, size), torch.nan)
    exponent = None if columns[0].exponent is None else torch.zeros_like(mantissa)
    for b, column in enumerate(columns):
        mantissa[: b + 1, b] = column.mantissa
        if exponent is not None and column.exponent is not None:
            exponent[: b + 1, b] = column.exponent
    return Scaled(mantissa, exponent)
