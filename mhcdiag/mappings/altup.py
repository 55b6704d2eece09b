"""Residual mappings of AltUp with LAuReL (Gemma 3n; arXiv 2301.13310, arXiv 2411.07501): two steps around each layer.

With streams x, the active one a, modalities m(v) = tanh(W norm(v) / C) of a router:

    predict   p = (I + R) x,                        R = P m(x_a)
    layer     y = (p_a + branches) / sqrt 2         (LAuReL's own residual keeps p_a and halves its energy)
    correct   x_new = p + (1 + c) (y - p_a),        c = Q m(y)

so that with silent branches x_new = H x for H = (I + (1/sqrt 2 - 1) (1 + c) e_a^T) (I + R).
"""

import math
from dataclasses import dataclass

import numpy
import torch
from jaxtyping import Float
from torch import Tensor

from mhcdiag.mappings.inputs import LogitFactor
from mhcdiag.mappings.interface import CHUNK_TOKENS, Stack
from mhcdiag.mappings.parametric import StaticMaps

KEPT = 1 / math.sqrt(2)
"""What LAuReL leaves of the active stream."""
Modalities = Float[Tensor, "token stream"]


@dataclass(frozen=True, kw_only=True, slots=True)
class AltUpSite:
    """The parameters of one layer."""

    predict: Float[Tensor, "target source modality"]
    """P."""
    correct: Float[Tensor, "target modality"]
    """Q."""
    router: LogitFactor
    """Of (W gamma / C)^T, gamma the weight of the router's norm."""

    def maps(self, predicting: Modalities, correcting: Modalities, active: int) -> Float[Tensor, "token target source"]:
        """H for the modalities of the two steps."""
        streams = len(self.correct)
        eye = torch.eye(streams, dtype=self.predict.dtype)
        predicted = eye + torch.einsum("ijk,tk->tij", self.predict, predicting)
        corrected = eye.expand(len(correcting), -1, -1).clone()
        corrected[:, :, active] += (KEPT - 1) * (1 + correcting @ self.correct.T)
        return corrected @ predicted

    def largest(self, active: int) -> Float[Tensor, "target source"]:
        """Largest absolute value of each entry of H, over all inputs; loose, since entries do not peak together."""
        streams = len(self.correct)
        reach = torch.tanh(self.router.column_norms() * self.router.inputs**0.5)
        moved = self.correct.abs() @ reach
        predicted = torch.eye(streams, dtype=self.predict.dtype) + self.predict.abs() @ reach
        corrected = torch.eye(streams, dtype=self.predict.dtype)
        corrected[:, active] += (1 - KEPT) * (1 + moved)
        ends = torch.stack([1 + (KEPT - 1) * (1 + sign * moved[active]) for sign in (-1, 1)])
        corrected[active, active] = ends.abs().max()
        return corrected @ predicted


@dataclass(frozen=True, kw_only=True, slots=True)
class AltUpStack:
    """The parameters of all layers."""

    stack: Stack
    depths: tuple[int, ...]
    """Per layer its position in the whole model; random inputs are seeded by it."""
    sites: tuple[AltUpSite, ...]
    active: int
    """Index a of the stream that the layer reads."""
    eps: float
    """Of the router's norm."""

    def static(self) -> StaticMaps:
        """The mappings with all modalities at zero: one pseudo-token."""
        zero = torch.zeros(1, self.stack.streams, dtype=torch.float64)
        maps = [site.maps(zero, zero, self.active)[0] for site in self.sites]
        return StaticMaps(stack=self.stack, maps=torch.stack(maps).unsqueeze(-1))

    def random(self, *, tokens: int, seed: int) -> "RandomAltUpMaps":
        """The mappings that standard Gaussian streams produce, tokens, layers and streams independent."""
        return RandomAltUpMaps(parameters=self, tokens=tokens, seed=seed)


@dataclass(frozen=True, kw_only=True, slots=True)
class RandomAltUpMaps:
    """Mappings of random inputs with silent branches, drawn chunk by chunk."""

    parameters: AltUpStack
    tokens: int
    seed: int

    @property
    def stack(self) -> Stack:
        """The layers."""
        return self.parameters.stack

    def chunk(self, start: int, stop: int, *, device: str = "cpu") -> Float[Tensor, "site stream stream token"]:
        """The mappings of tokens start..stop-1."""
        maps = [self._of_site(index, start, stop) for index in range(len(self.parameters.sites))]
        found = torch.stack(maps).permute(0, 2, 3, 1)
        return (found.float() if device == "mps" else found).to(device)  # MPS knows no float64

    def _of_site(self, index: int, start: int, stop: int) -> Float[Tensor, "token target source"]:
        """Drawn are what the router sees and the inner products of all else, as `inputs` does."""
        site, parameters = self.parameters.sites[index], self.parameters
        draw = numpy.random.default_rng([self.seed, parameters.depths[index], start // CHUNK_TOKENS])
        tokens, streams, triangle = stop - start, parameters.stack.streams, site.router.triangle
        seen = torch.from_numpy(draw.standard_normal((tokens, streams, len(triangle))))
        gram = _inner_products(draw, tokens, streams, site.router.inputs - len(triangle))
        gram = gram + seen @ seen.transpose(1, 2)
        one = torch.zeros(tokens, streams, dtype=torch.float64)
        one[:, parameters.active] = 1
        predicting = self._modalities(site, one, seen, gram)
        weights = one + torch.einsum("jk,tk->tj", site.predict[parameters.active], predicting)
        return site.maps(predicting, self._modalities(site, weights * KEPT, seen, gram), parameters.active)

    def _modalities(self, site: AltUpSite, weights: Tensor, seen: Tensor, gram: Tensor) -> Modalities:
        """Of the weighted sum of the streams."""
        square = torch.einsum("ti,tij,tj->t", weights, gram, weights).clamp(min=0)
        rms = (square / site.router.inputs + self.parameters.eps).sqrt()
        summed = torch.einsum("ts,tsd->td", weights, seen)
        return torch.tanh(summed @ site.router.triangle / rms[:, None])


def _inner_products(
    draw: numpy.random.Generator, tokens: int, streams: int, hidden: int
) -> Float[Tensor, "token stream stream"]:
    """Inner products of the streams over the coordinates that no router sees: Wishart, by Bartlett's decomposition."""
    if hidden < streams:
        numbers = torch.from_numpy(draw.standard_normal((tokens, streams, max(hidden, 0))))
        return numbers @ numbers.transpose(1, 2)
    lower = numpy.tril(draw.standard_normal((tokens, streams, streams)), -1)
    degrees = hidden - numpy.arange(streams)
    lower[:, numpy.arange(streams), numpy.arange(streams)] = numpy.sqrt(draw.chisquare(degrees, (tokens, streams)))
    factor = torch.from_numpy(lower)
    return factor @ factor.transpose(1, 2)
