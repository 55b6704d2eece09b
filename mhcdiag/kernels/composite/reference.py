"""Composite gains in plain torch: the oracle of the other implementations, and what runs where none of them can.

It never overflows: products that could leave the range of their element type carry an exponent per matrix.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from mhcdiag.kernels.choice import widened
from mhcdiag.kernels.composite.interface import (
    KEYS,
    ChunkGains,
    KindGains,
    Maps,
    OctaveCounts,
    Outputs,
    octave_counts,
    order_statistics,
)
from mhcdiag.kernels.composite.scaled import Scaled, multiply, needs_scaling, normalise
from mhcdiag.results.gain import Definition, Direction, Kind, SpanKey

BLOCK_VALUES = 1 << 17
"""Numbers of all spans that are held at once: 1 MB in float64, so that one block of tokens stays in the cache of a
core."""


@dataclass(frozen=True, slots=True)
class ReferenceKernel:
    """See `Kernel`; works on any device and for any number of streams."""

    name: ClassVar[str] = "torch"

    def chunk_gains(self, maps: Maps, outputs: Outputs) -> ChunkGains:
        """See `Kernel`."""
        maps = widened(maps).contiguous()  # tokens last in memory, or every product would stride
        nonnegative = bool((maps >= 0).all())
        broken = (~maps.isfinite()).any(dim=1).any(dim=1).sum(dim=-1).cpu()
        return ChunkGains(
            kinds={kind: _kind_gains(each, outputs, nonnegative=nonnegative) for kind, each in products(maps).items()},
            nonfinite=broken if bool(broken.any()) else None,
            kernel=self.name,
        )

    def span_sums(self, maps: Maps) -> dict[SpanKey, Scaled]:
        """See `Kernel`."""
        return span_sums(widened(maps))

    def order_statistics(self, values: Float[Tensor, "row token"], ranks: tuple[int, int]) -> Float[Tensor, "row rank"]:
        """See `Kernel`."""
        return order_statistics(values, ranks)

    def octave_counts(self, values: Scaled) -> OctaveCounts:
        """See `Kernel`."""
        return octave_counts(values)


def _kind_gains(composites: Scaled, outputs: Outputs, *, nonnegative: bool) -> KindGains:
    by_key = gains(composites, nonnegative=nonnegative)
    stacked = Scaled(torch.stack([by_key[key].mantissa for key in KEYS]), by_key[KEYS[0]].exponent)
    return KindGains(
        sums=stacked.sum_tokens(),
        maxima=stacked.max_tokens(),
        matrices=composites.sum_tokens() if Outputs.MATRICES in outputs else None,
        per_token=stacked if Outputs.PER_TOKEN in outputs else None,
    )


def products(maps: Maps) -> dict[Kind, Scaled]:
    """P(l,l), P(1,l) and P(l,L) for every site l; arguments and results as in `prefixes`."""
    upto, onwards = prefixes_and_suffixes(maps)
    return {Kind.SINGLE: Scaled(maps, None), Kind.PREFIX: upto, Kind.SUFFIX: onwards}


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
    return _chain(maps, scaling=needs_scaling(maps))


def prefixes_and_suffixes(maps: Maps) -> tuple[Scaled, Scaled]:
    """P(1,l) and P(l,L) = H_L ... H_l for every site l; arguments and results as in `prefixes`.

    Both in one pass, since for few tokens it is the number of operations that takes the time: a suffix, transposed, is
    a prefix of the transposed mappings in reverse order.
    """
    both = _chain(torch.stack((maps, maps.flip(0).transpose(1, 2)), dim=1), scaling=needs_scaling(maps))
    mantissa, exponent = both.mantissa, both.exponent
    backwards = None if exponent is None else exponent[:, 1].flip(0)
    return (
        Scaled(mantissa[:, 0], None if exponent is None else exponent[:, 0]),
        Scaled(mantissa[:, 1].flip(0).transpose(1, 2), backwards),
    )


def _chain(maps: Float[Tensor, "site *both stream stream token"], *, scaling: bool) -> Scaled:
    if not scaling:
        return Scaled(_plain_chain(maps), None)
    out = torch.empty_like(maps)
    exponents = torch.zeros_like(maps[..., :1, :1, :])
    current: Scaled | None = None
    for site, mapping in enumerate(maps):
        step = normalise(mapping, None)
        current = step if current is None else _product(step, current)
        assert current.exponent is not None
        out[site], exponents[site] = current.mantissa, current.exponent
    return Scaled(out, exponents)


def _plain_chain(
    maps: Float[Tensor, "site *both stream stream token"],
) -> Float[Tensor, "site *both stream stream token"]:
    """The sums of `multiply`, in place: all views are made at once, which for few tokens is half of the time."""
    out = torch.empty_like(maps)
    columns = [of_all.unbind(0) for of_all in maps.unsqueeze(-2).unbind(-3)]
    rows = [of_all.unbind(0) for of_all in out.unsqueeze(-4).unbind(-3)]
    results = out.unbind(0)
    results[0].copy_(maps[0])
    for site in range(1, len(maps)):
        torch.mul(columns[0][site], rows[0][site - 1], out=results[site])
        for column, row in zip(columns[1:], rows[1:], strict=True):
            results[site].addcmul_(column[site], row[site - 1])
    return out


def _product(left: Scaled, right: Scaled) -> Scaled:
    assert left.exponent is not None
    assert right.exponent is not None
    return normalise(multiply(left.mantissa, right.mantissa), left.exponent + right.exponent)


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
