"""Random inputs, seen through a site's norm and projection.

A site reads its input x through z = W^T norm(x). For standard Gaussian x of d numbers only the k <= d directions that
W spans matter: with W = Q R, z = R^T u, where u are the first k coordinates of a vector of d Gaussian numbers and the
norm needs the others only through the sum of their squares, a chi-square number of d - k degrees. That draws k + 1
numbers instead of d (17 instead of 28,672 for DeepSeek-V4-Pro) and has exactly the same distribution.
"""

import math
from dataclasses import dataclass

import numpy
import torch
from jaxtyping import Float
from torch import Tensor

from mhcdiag.mappings.interface import CHUNK_TOKENS


@dataclass(frozen=True, kw_only=True, slots=True)
class InputNorm:
    """How a site normalises its input before projecting it; weights are folded into the projection."""

    per_stream: bool
    """Whether each stream is normalised and projected on its own, or all n*C numbers as one vector."""
    eps: float
    """Added to the mean square where `clamped` is false; the smallest allowed L2 norm where it is true."""
    clamped: bool = False
    """Whether the norm is `x / max(|x|, eps) * sqrt(d)` rather than `x / sqrt(mean(x^2) + eps)`."""

    def rms(self, square_sum: numpy.ndarray, size: int) -> numpy.ndarray:
        """What the input is divided by.

        Parameters
        ----------
        square_sum
            Sum of squares of the input, any shape.
        size
            Number d of values behind each sum.
        """
        if self.clamped:
            return numpy.asarray(numpy.maximum(numpy.sqrt(square_sum), self.eps) / math.sqrt(size))
        return numpy.asarray(numpy.sqrt(square_sum / size + self.eps))


@dataclass(frozen=True, kw_only=True, slots=True)
class LogitFactor:
    """The part of a projection that its outputs' distribution depends on."""

    triangle: Float[Tensor, "direction logit"]
    """R of W = Q R in float64, its diagonal not negative, so that it does not depend on the linear algebra library."""
    inputs: int
    """Number d of inputs of the projection."""
    weight: Float[Tensor, "input logit"] | None = None
    """W itself, where several sites are to see the same input: their factors do not say how they lie to each other."""

    def column_norms(self) -> Float[Tensor, " logit"]:
        """L2 norm of each column of W."""
        return self.triangle.square().sum(dim=0).sqrt()


def logit_factor(weight: Float[Tensor, "input logit"], *, keep: bool = False) -> LogitFactor:
    """QR factor of a projection W [d, k]; a projection that holds NaN or infinity gives a factor of NaN.

    Parameters
    ----------
    weight
        W, a norm's weight folded in.
    keep
        Whether to keep W: small for hyper-connections (0.5 MB a site at most), 7 MB a site for DeepSeek-V4-Pro.
    """
    inputs, logits = weight.shape
    kept = weight if keep else None
    if not weight.isfinite().all():
        triangle = torch.full((min(inputs, logits), logits), torch.nan).double()
        return LogitFactor(triangle=triangle, inputs=inputs, weight=kept)
    triangle = torch.linalg.qr(weight.double(), mode="r").R
    signs = torch.where(triangle.diagonal() < 0, -1.0, 1.0).to(triangle.dtype)
    return LogitFactor(triangle=triangle * signs[:, None], inputs=inputs, weight=kept)


@dataclass(frozen=True, kw_only=True, slots=True)
class LogitSampler:
    """Draws the projected random inputs of one site."""

    factor: LogitFactor
    norm: InputNorm
    streams: int
    seed: int
    site: int
    """Position of the site in the whole model: with `seed` and the chunk it seeds the draw."""

    def draw(self, start: int, stop: int) -> "numpy.ndarray[tuple[int, int, int], numpy.dtype[numpy.float32]]":
        """Projected inputs of tokens start..stop-1, as [stream or 1, logit, token].

        Always drawn on the CPU and in whole chunks, so that the numbers depend on nothing but seed, site and token.
        """
        assert start % CHUNK_TOKENS == 0
        generator = numpy.random.default_rng([self.seed, self.site, start // CHUNK_TOKENS])
        groups = self.streams if self.norm.per_stream else 1
        triangle = self.factor.triangle.numpy()
        directions = triangle.shape[0]
        hidden = self.factor.inputs - directions
        tokens = stop - start
        # Tokens come first in the draw: the first t tokens are then the same, however many follow.
        numbers = generator.standard_normal((tokens, groups, directions))
        square_sum = numpy.square(numbers).sum(axis=-1)
        if hidden:
            square_sum += numpy.random.default_rng([self.seed, self.site, start // CHUNK_TOKENS, 1]).chisquare(
                hidden, size=(tokens, groups)
            )
        numbers /= self.norm.rms(square_sum, self.factor.inputs)[..., None]
        with numpy.errstate(over="ignore"):  # infinity, as the implementation computes it: a finding and no warning
            return numpy.ascontiguousarray((numbers @ triangle).transpose(1, 2, 0), dtype=numpy.float32)


def project(
    inputs: Float[Tensor, "token input"], weight: Float[Tensor, "input logit"], norm: InputNorm
) -> Float[Tensor, "token logit"]:
    """W^T norm(x) of given inputs, for a norm over all of them; a norm's weight is folded into W."""
    square_sum = inputs.double().square().sum(dim=1).numpy()
    rms = torch.from_numpy(numpy.asarray(norm.rms(square_sum, inputs.shape[1]))).to(inputs)
    return inputs @ weight / rms[:, None]
