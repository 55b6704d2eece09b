"""Sums and products of small matrices that neither overflow nor underflow.

A `Scaled` tensor stands for mantissa * 2**exponent, with one exponent per matrix. Exponents stay None as long as the
products are certain to fit the element type, which is the common case and costs nothing.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mhcdiag.results.numbers import Number, from_log2


@dataclass(frozen=True, slots=True)
class Scaled:
    """Values with a power of two beside them."""

    mantissa: Tensor
    """Ordinary numbers."""
    exponent: Tensor | None
    """Whole powers of two, as floats of a shape that broadcasts against the mantissa; None means 0 everywhere."""

    def log2(self) -> Tensor:
        """Base-2 logarithm of the values, which must not be negative."""
        logs = self.mantissa.log2()
        return logs if self.exponent is None else logs + self.exponent

    def __getitem__(self, index: int | slice) -> "Scaled":
        return Scaled(self.mantissa[index], None if self.exponent is None else self._whole_exponent()[index])

    def _whole_exponent(self) -> Tensor:
        assert self.exponent is not None
        # An axis that only the mantissa has, such as `key`, is not one to index the exponent by.
        return self.exponent if self.exponent.dim() == self.mantissa.dim() else self.exponent.expand_as(self.mantissa)

    def sum_tokens(self) -> "Scaled":
        """Sum over the last axis, in float64 (float32 on MPS, which has no other)."""
        wide = self.mantissa.dtype if self.mantissa.device.type == "mps" else torch.float64
        if self.exponent is None:
            return Scaled(self.mantissa.sum(dim=-1, dtype=wide), None)
        largest = self.exponent.amax(dim=-1, keepdim=True)
        return Scaled(
            (self.mantissa * torch.exp2(self.exponent - largest)).sum(dim=-1, dtype=wide), largest.squeeze(-1)
        )

    def max_tokens(self) -> "Scaled":
        """Largest value over the last axis; NaN where there is one."""
        if self.exponent is None:
            return Scaled(self.mantissa.amax(dim=-1), None)
        at = self.log2().argmax(dim=-1, keepdim=True)  # NaN counts as the largest
        exponent = self.exponent.expand(self.mantissa.shape)
        return Scaled(self.mantissa.gather(-1, at).squeeze(-1), exponent.gather(-1, at).squeeze(-1))

    def maximum(self, other: "Scaled") -> "Scaled":
        """The larger of two values in each place; NaN where either is."""
        if self.exponent is None and other.exponent is None:
            return Scaled(torch.maximum(self.mantissa, other.mantissa), None)
        zero = torch.zeros_like(self.mantissa)
        mantissa = torch.stack([self.mantissa, other.mantissa.to(self.mantissa.dtype)], dim=-1)
        exponents = [(zero if each.exponent is None else each.exponent.expand_as(zero)) for each in (self, other)]
        return Scaled(mantissa, torch.stack(exponents, dim=-1)).max_tokens()

    def take(self, tokens: Tensor) -> "Scaled":
        """The values at some positions of the last axis."""
        index = tokens.to(self.mantissa.device)
        return Scaled(self.mantissa[..., index], None if self.exponent is None else self.exponent[..., index])

    def rows(self) -> "Scaled":
        """All axes but the last as one."""
        exponent = None if self.exponent is None else self.exponent.expand(self.mantissa.shape).flatten(0, -2)
        return Scaled(self.mantissa.flatten(0, -2), exponent)

    def with_token(self) -> "Scaled":
        """The same values with a last axis of one token."""
        return Scaled(self.mantissa.unsqueeze(-1), None if self.exponent is None else self.exponent.unsqueeze(-1))

    def cpu(self) -> "Scaled":
        """The same values as float64 on the CPU."""
        return Scaled(self.mantissa.cpu().double(), None if self.exponent is None else self.exponent.cpu().double())

    def __add__(self, other: "Scaled") -> "Scaled":
        if self.exponent is None and other.exponent is None:
            return Scaled(self.mantissa + other.mantissa, None)
        zero = torch.zeros((), dtype=self.mantissa.dtype, device=self.mantissa.device)
        mine = zero if self.exponent is None else self.exponent
        theirs = zero if other.exponent is None else other.exponent
        largest = torch.maximum(mine, theirs)
        total = self.mantissa * torch.exp2(mine - largest) + other.mantissa * torch.exp2(theirs - largest)
        return Scaled(total, largest)

    def __truediv__(self, count: int) -> "Scaled":
        return Scaled(self.mantissa / count, self.exponent)

    def numbers(self) -> tuple[Number, ...]:
        """The values of a one-dimensional tensor, each as a float or, beyond float64, as its logarithm."""
        mantissas = self.mantissa.cpu().double().tolist()
        if self.exponent is None:
            return tuple(mantissas)
        exponents = self.exponent.expand(self.mantissa.shape).tolist()
        return tuple(_number(m, e) for m, e in zip(mantissas, exponents, strict=True))


def _number(mantissa: float, exponent: float) -> Number:
    if not math.isfinite(mantissa) or mantissa == 0:
        return mantissa
    if math.log2(mantissa) + exponent < 1023:  # `ldexp` raises where the result is no float64
        return math.ldexp(mantissa, int(exponent))
    return from_log2(math.log2(mantissa) + exponent)


def multiply(
    left: Float[Tensor, "... rows inner token"], right: Float[Tensor, "... inner columns token"]
) -> Float[Tensor, "... rows columns token"]:
    """Matrix product over the two axes before the last, one product per token.

    Written as a sum of `inner` broadcast products: with tokens contiguous this runs at memory speed, while a batched
    matrix product would start one tiny kernel per token.
    """
    columns = left.unsqueeze(-2).unbind(-3)  # [..., rows, 1, token]
    rows = right.unsqueeze(-4).unbind(-3)  # [..., 1, columns, token]
    total = columns[0] * rows[0]
    for column, row in zip(columns[1:], rows[1:], strict=True):
        total.addcmul_(column, row)
    return total


def needs_scaling(maps: Float[Tensor, "site stream stream token"]) -> bool:
    """Whether products over these sites could leave the range of their element type, in either direction."""
    if not maps.numel():
        return False
    logs = maps.abs().sum(dim=2).amax(dim=1).log2().abs()
    # NaN and infinity do not overflow any further, and an all-zero mapping stays zero.
    logs = torch.where(logs.isfinite(), logs, torch.zeros_like(logs))
    # Logarithms of norms add up to more than that of any product of the mappings. 0.4 of the range leaves room for sums
    # over streams and tokens, and for squares.
    return bool((logs.sum(dim=0) > 0.4 * math.log2(torch.finfo(maps.dtype).max)).any())


def normalise(mantissa: Float[Tensor, "*batch stream stream token"], exponent: Tensor | None) -> Scaled:
    """Move the size of each matrix into its exponent, so that its largest entry lies in [0.5, 1).

    The exponent of a matrix of zeros is 0: sums over tokens are formed at the largest exponent that occurs.
    """
    largest = mantissa.abs().amax(dim=(-3, -2), keepdim=True)
    shift = torch.frexp(torch.where(largest.isfinite(), largest, 0.0)).exponent.to(mantissa.dtype)
    half = (shift / 2).floor()  # in two steps, since 2**1074 is no float64
    smaller = mantissa * torch.exp2(-half) * torch.exp2(half - shift)
    return Scaled(smaller, torch.where(largest == 0, 0.0, shift if exponent is None else exponent + shift))
