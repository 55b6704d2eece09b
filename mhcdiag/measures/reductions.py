"""From the gains of every token to one curve per reduction."""

import math
from collections.abc import Callable, Sequence
from itertools import product
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from mhcdiag.kernels.composites import gains, prefixes, singles, suffixes
from mhcdiag.kernels.scaled import Scaled
from mhcdiag.measures.quantiles import Quantiles, quantiles_for
from mhcdiag.results.gain import Curve, CurveKey, Definition, Direction, Kind, Matrix, Reduction, SpanKey
from mhcdiag.results.numbers import Number

PRODUCTS: dict[Kind, Callable[[Tensor], Scaled]] = {
    Kind.SINGLE: singles,
    Kind.PREFIX: prefixes,
    Kind.SUFFIX: suffixes,
}


class CurveReductions:
    """Collects all curves of one stack, chunk by chunk; sums are float64 and added in chunk order."""

    def __init__(self, *, tokens: int, first_tokens: Sequence[int] = ()) -> None:
        self._tokens = tokens
        self._first = frozenset(first_tokens)
        self._matrix_sums: dict[Kind, Scaled] = {}
        self._sums: dict[tuple[Kind, SpanKey], Scaled] = {}
        self._sums_without_first: dict[tuple[Kind, SpanKey], Scaled] = {}
        self._quantiles: dict[tuple[Kind, SpanKey], Quantiles] = {}

    def add(self, maps: Float[Tensor, "site stream stream token"], *, start: int) -> None:
        """Take the mappings of tokens start, start + 1, ..., in the element type of the products."""
        nonnegative = bool((maps >= 0).all())
        others = [t for t in range(maps.shape[-1]) if start + t not in self._first] if self._first else None
        for kind, compose in PRODUCTS.items():
            composites = compose(maps)
            _accumulate(self._matrix_sums, kind, composites.sum_tokens())
            for key, gain in gains(composites, nonnegative=nonnegative).items():
                _accumulate(self._sums, (kind, key), gain.sum_tokens())
                if others is not None:
                    _accumulate(self._sums_without_first, (kind, key), _take(gain, others).sum_tokens())
                self._quantiles.setdefault((kind, key), quantiles_for(self._tokens)).add(gain)

    def curves(self) -> dict[CurveKey, Curve]:
        """All curves, in the order kind, direction, definition, reduction."""
        found: dict[CurveKey, Curve] = {}
        for kind, matrix_sum in self._matrix_sums.items():
            mean_matrix = Scaled(
                (matrix_sum / self._tokens).mantissa.unsqueeze(-1),
                None if matrix_sum.exponent is None else matrix_sum.exponent.unsqueeze(-1),
            )
            of_mean = {key: gain.sum_tokens() for key, gain in gains(mean_matrix).items()}
            for key in product(Direction, Definition):
                for reduction, curve in self._reduce(kind, key).items():
                    found[kind, *key, reduction] = curve
                found[kind, *key, Reduction.OF_MEAN] = of_mean[key].numbers()
        return found

    def mean_matrices(self, kind: Kind) -> tuple[Matrix, ...]:
        """Per site, the token mean of the composite: what the reduction `of_mean` measures."""
        mean = self._matrix_sums[kind] / self._tokens
        exponent = torch.zeros_like(mean.mantissa) if mean.exponent is None else mean.exponent.expand_as(mean.mantissa)
        return tuple(
            tuple(tuple(map(_float, *rows)) for rows in zip(*site, strict=True))
            for site in zip(mean.mantissa.tolist(), exponent.tolist(), strict=True)
        )

    def _reduce(self, kind: Kind, key: SpanKey) -> dict[Reduction, tuple[Number, ...]]:
        quantiles = self._quantiles[kind, key]
        reductions = {
            Reduction.MEAN: (self._sums[kind, key] / self._tokens).numbers(),
            Reduction.P50: quantiles.at(50),
            Reduction.P99: quantiles.at(99),
            Reduction.MAX: quantiles.at(100),
        }
        if self._first and self._tokens > len(self._first):
            without = self._sums_without_first[kind, key] / (self._tokens - len(self._first))
            reductions[Reduction.MEAN_WITHOUT_FIRST] = without.numbers()
        return reductions


def _float(mantissa: float, exponent: float) -> float:
    try:
        return math.ldexp(mantissa, int(exponent))
    except OverflowError:
        return math.copysign(math.inf, mantissa)


K = TypeVar("K")


def _accumulate(sums: dict[K, Scaled], key: K, found: Scaled) -> None:
    sums[key] = sums[key] + found if key in sums else found


def _take(gain: Scaled, tokens: list[int]) -> Scaled:
    index = torch.tensor(tokens, device=gain.mantissa.device)
    exponent = None if gain.exponent is None else gain.exponent[..., index]
    return Scaled(gain.mantissa[..., index], exponent)
