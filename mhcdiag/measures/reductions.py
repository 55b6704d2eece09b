"""From the gains of every token to one curve per reduction."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mhcdiag.kernels.composite.interface import KEYS, ChunkGains, Kernel, KindGains
from mhcdiag.kernels.composite.products import gains
from mhcdiag.kernels.composite.scaled import Scaled
from mhcdiag.measures.quantiles import ExactQuantiles, HistogramQuantiles, merged, quantiles_for
from mhcdiag.results.gain import Curve, CurveKey, Kind, Matrix, Reduction

KindQuantiles = dict[Kind, ExactQuantiles | HistogramQuantiles]


@dataclass(frozen=True, kw_only=True, slots=True)
class KindSums:
    """What one chunk adds to the curves of one kind of product: float64, on the CPU."""

    sums: Scaled
    """[key, site]."""
    maxima: Scaled
    """[key, site]."""
    matrices: Scaled
    """[site, row, column]."""
    without_first: Scaled | None
    """[key, site]: sums over the tokens that do not begin a sequence; None where they are all of them."""

    def __add__(self, later: "KindSums") -> "KindSums":
        return KindSums(
            sums=self.sums + later.sums,
            maxima=self.maxima.maximum(later.maxima),
            matrices=self.matrices + later.matrices,
            without_first=_added(self.without_first, later.without_first),
        )


def _added(earlier: Scaled | None, later: Scaled | None) -> Scaled | None:
    return earlier + later if earlier is not None and later is not None else None


def chunk_sums(found: ChunkGains, *, others: Tensor | None) -> dict[Kind, KindSums]:
    """The sums of one chunk, per kind.

    Parameters
    ----------
    found
        Its gains, with those of every token and with matrices.
    others
        Positions in the chunk of the tokens that do not begin a sequence; None where nothing is said of that.
    """
    return {kind: _kind_sums(gained, others) for kind, gained in found.kinds.items()}


def _kind_sums(found: KindGains, others: Tensor | None) -> KindSums:
    assert found.per_token is not None
    assert found.matrices is not None
    return KindSums(
        sums=found.sums.cpu(),
        maxima=found.maxima.cpu(),
        matrices=found.matrices.cpu(),
        without_first=None if others is None else found.per_token.take(others).sum_tokens().cpu(),
    )


class TokenQuantiles:
    """Collects the gains of every token, per kind."""

    def __init__(self, tokens: int, kernel: Kernel) -> None:
        self._kernel = kernel
        self.kinds: KindQuantiles = {kind: quantiles_for(tokens, kernel) for kind in Kind}

    def add(self, found: ChunkGains, *, start: int) -> None:
        """Take the gains of the chunk that begins at token `start`."""
        for kind, gained in found.kinds.items():
            assert gained.per_token is not None
            self.kinds[kind].add(gained.per_token.rows(), start=start)


def curves(
    kinds: dict[Kind, KindSums], quantiles: Iterable[KindQuantiles], kernel: Kernel, *, tokens: int, first_tokens: int
) -> dict[CurveKey, Curve]:
    """All curves, in the order kind, direction, definition, reduction.

    Parameters
    ----------
    kinds
        Sums over all tokens.
    quantiles
        What each rank collected.
    kernel
        Finds order statistics.
    tokens, first_tokens
        Number of tokens, and of those that begin a sequence.
    """
    collected = list(quantiles)
    found: dict[CurveKey, Curve] = {}
    for kind, sums in kinds.items():
        at = merged(of_rank[kind] for of_rank in collected).result(kernel)
        of_mean = gains((sums.matrices / tokens).with_token())
        sites = sums.sums.mantissa.shape[1]
        for k, key in enumerate(KEYS):
            row = slice(k * sites, (k + 1) * sites)
            found[kind, *key, Reduction.MEAN] = (sums.sums[k] / tokens).numbers()
            found[kind, *key, Reduction.P50] = at.p50[row]
            found[kind, *key, Reduction.P99] = at.p99[row]
            found[kind, *key, Reduction.MAX] = sums.maxima[k].numbers()
            if sums.without_first is not None and tokens > first_tokens:
                without = sums.without_first[k] / (tokens - first_tokens)
                found[kind, *key, Reduction.MEAN_WITHOUT_FIRST] = without.numbers()
            found[kind, *key, Reduction.OF_MEAN] = of_mean[key].sum_tokens().numbers()
    return found


def mean_matrices(sums: KindSums, *, tokens: int) -> tuple[Matrix, ...]:
    """Per site, the token mean of the composite: what the reduction `of_mean` measures."""
    mean = sums.matrices / tokens
    exponent = torch.zeros_like(mean.mantissa) if mean.exponent is None else mean.exponent.expand_as(mean.mantissa)
    return tuple(
        tuple(tuple(map(_float, *rows)) for rows in zip(*site, strict=True))
        for site in zip(mean.mantissa.tolist(), exponent.tolist(), strict=True)
    )


def _float(mantissa: float, exponent: float) -> float:
    try:
        return math.ldexp(mantissa, int(exponent))
    except OverflowError:
        return math.copysign(math.inf, mantissa)


def positions_of_others(first_tokens: Sequence[int], *, start: int, stop: int) -> Tensor | None:
    """Positions within start..stop-1 of the tokens that do not begin a sequence; None where none is said to."""
    if not first_tokens:
        return None
    keep = torch.ones(stop - start, dtype=torch.bool)
    inside = torch.tensor([token - start for token in first_tokens if start <= token < stop], dtype=torch.long)
    keep[inside] = False
    return keep.nonzero().squeeze(1)
