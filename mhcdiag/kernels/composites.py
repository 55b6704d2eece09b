"""Composite mappings along depth and their gains, for one block of tokens."""

import torch
from jaxtyping import Float
from torch import Tensor

from mhcdiag.kernels.scaled import Scaled, multiply, needs_scaling, normalise
from mhcdiag.results.gain import Definition, Direction, SpanKey

Maps = Float[Tensor, "site stream stream token"]


def singles(maps: Maps) -> Scaled:
    """P(l,l) for every site l: the mappings themselves."""
    return Scaled(maps, None)


def prefixes(maps: Maps) -> Scaled:
    """P(1,l) = H_l ... H_1 for every site l.

    Parameters
    ----------
    maps
        H_res per site and token in the convention x_new = H x, in the element type of the products.

    Returns
    -------
    Scaled
        Composites of the same shape; mantissa and exponent where they could leave the range of the element type.
    """
    return _chain(maps, later_on_the_left=True)


def suffixes(maps: Maps) -> Scaled:
    """P(l,L) = H_L ... H_l for every site l; arguments and result as in `prefixes`."""
    backwards = _chain(maps.flip(0), later_on_the_left=False)
    flipped = None if backwards.exponent is None else backwards.exponent.flip(0)
    return Scaled(backwards.mantissa.flip(0), flipped)


def _chain(maps: Maps, *, later_on_the_left: bool) -> Scaled:
    scaling = needs_scaling(maps)
    out = torch.empty_like(maps)
    exponents = torch.zeros_like(maps[:, :1, :1])
    current = Scaled(maps[0], None)
    for site, mapping in enumerate(maps):
        step = normalise(mapping, None) if scaling else Scaled(mapping, None)
        if site == 0:
            current = step
        else:
            left, right = (step, current) if later_on_the_left else (current, step)
            product = multiply(left.mantissa, right.mantissa)
            current = Scaled(product, None)
            if left.exponent is not None and right.exponent is not None:
                current = normalise(product, left.exponent + right.exponent)
        out[site] = current.mantissa
        if current.exponent is not None:
            exponents[site] = current.exponent
    return Scaled(out, exponents if scaling else None)


def gains(composites: Scaled, *, nonnegative: bool = False) -> dict[SpanKey, Scaled]:
    """Forward and backward gain of every matrix, in both definitions.

    `amax` is max_i |sum_j P_ij| forward and max_j |sum_i P_ij| backward (arXiv 2512.24880, section 3.1); `norm` takes
    absolute values before the sums.

    Parameters
    ----------
    composites
        Matrices [..., stream, stream, token].
    nonnegative
        Whether all entries are known to be non-negative: the definitions then agree, and half of the work is saved.

    Returns
    -------
    dict
        Per (direction, definition) the gains [..., token].
    """
    matrices = composites.mantissa
    exponent = None if composites.exponent is None else composites.exponent.squeeze(-2).squeeze(-2)
    found: dict[SpanKey, Scaled] = {}
    for definition in Definition:
        if definition is Definition.NORM:
            matrices = matrices.abs()
        for direction, axis in ((Direction.FORWARD, -2), (Direction.BACKWARD, -3)):
            if nonnegative and definition is Definition.NORM:
                found[direction, definition] = found[direction, Definition.AMAX]
                continue
            sums = matrices.sum(dim=axis)
            found[direction, definition] = Scaled(sums.abs().amax(dim=-2), exponent)
    return found
