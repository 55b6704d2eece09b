"""Mappings computed from parameters: logits = scale * act(W^T norm(x)) + base, then constrained, then oriented.

This one form covers hyper-connections (arXiv 2409.19606; arXiv 2512.24880, equation 5) and their manifold-constrained
kin (equations 7 and 8); a `Recipe` says which.
"""

from dataclasses import dataclass
from enum import StrEnum

import torch
from jaxtyping import Float
from torch import Tensor

from mhcdiag.kernels.sinkhorn.interface import ROWS
from mhcdiag.mappings.inputs import InputNorm, LogitFactor, LogitSampler
from mhcdiag.mappings.interface import Constraint, Orientation, Stack
from mhcdiag.results.gain import Direction


class Activation(StrEnum):
    """What is applied to the projected input before it is scaled."""

    NONE = "none"
    TANH = "tanh"


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How one implementation turns its parameters into H_res."""

    norm: InputNorm
    """Normalisation of the site's input."""
    activation: Activation
    """Applied to the projection, before `scale`."""
    constraint: Constraint | None
    """None for unconstrained hyper-connections."""
    orientation: Orientation
    """What a row of the stored matrix stands for."""
    proposals: int = 1
    """Number of matrices that are constrained one by one and then averaged (mHCv2)."""

    @property
    def unconstrained(self) -> bool:
        """Whether these are hyper-connections whose streams are normalised one by one, so that nothing limits them."""
        return self.constraint is None and self.norm.per_stream and self.proposals == 1

    def orient(self, stored: Float[Tensor, "*batch row column token"]) -> Float[Tensor, "*batch stream stream token"]:
        """From the stored orientation to x_new = H x."""
        return stored.transpose(-3, -2) if self.orientation is Orientation.SOURCE_ROWS else stored

    def exact_directions(self) -> frozenset[Direction]:
        """The directions in which all sums of H are 1 by construction; none without constraint."""
        axes = () if self.constraint is None else self.constraint.exact_axes
        target_rows = self.orientation is Orientation.TARGET_ROWS
        return frozenset(Direction.FORWARD if (axis == ROWS) == target_rows else Direction.BACKWARD for axis in axes)

    def exact_direction(self) -> Direction | None:
        """The direction in which the last Sinkhorn step made all sums of H equal to 1; None unless it is just one."""
        directions = self.exact_directions()
        return next(iter(directions)) if len(directions) == 1 else None


class BlendTarget(StrEnum):
    """What a constrained matrix is blended with."""

    IDENTITY = "identity"
    UNIFORM = "uniform"
    """Every entry 1/n."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Blend:
    """H = (1 - w) S + w T for the constrained matrix S."""

    weight: Float[Tensor, " site"]
    """w per site."""
    target: BlendTarget
    """T."""

    def apply(
        self, matrices: Float[Tensor, "site row column token"], sites: slice
    ) -> Float[Tensor, "site row column token"]:
        """Blend the matrices of some of the sites."""
        streams = matrices.shape[1]
        eye = torch.eye(streams, dtype=matrices.dtype, device=matrices.device)
        target = eye if self.target is BlendTarget.IDENTITY else torch.full_like(eye, 1 / streams)
        weight = self.weight[sites].to(matrices)[:, None, None, None]
        return (1 - weight) * matrices + weight * target[None, :, :, None]


@dataclass(frozen=True, kw_only=True, slots=True)
class ParametricStack:
    """The parameters of all sites of a model."""

    stack: Stack
    """The sites."""
    depths: tuple[int, ...]
    """Per site its position in the whole model; random inputs are seeded by it, so that a part equals the whole."""
    recipe: Recipe
    """Shared by all sites."""
    base: Float[Tensor, "site row column"]
    """Logits (or, unconstrained, entries) of the input-independent part, as stored; coefficients are one row."""
    scale: Float[Tensor, " site"]
    """Factor on the input-dependent part."""
    factors: tuple[LogitFactor, ...] | None
    """Per site the factor of its projection, norm weight folded in; None where it was not read or does not exist.

    Columns are the stored matrix, row by row, for a flattened norm; one row of it (for each proposal in turn), shared
    by all streams, for a per-stream norm. """
    input_dependent: bool = True
    """Whether the mappings depend on the input at all."""
    blend: Blend | None = None
    """What the constrained matrices are blended with, where an implementation does that."""
    offset: Float[Tensor, "site column"] | None = None
    """Added to the projected input of every stream under the activation (the bias of a LayerNorm), per-stream norms."""

    def static(self) -> "StaticMaps":
        """The mappings with the input-dependent part at zero: one pseudo-token."""
        logits = self.base.unsqueeze(1).unsqueeze(-1).expand(-1, self.recipe.proposals, -1, -1, -1)
        return StaticMaps(stack=self.stack, maps=finish(logits, self, slice(None)))

    def random(self, *, tokens: int, seed: int) -> "RandomMaps":
        """The mappings that standard Gaussian inputs produce, tokens, sites and streams independent."""
        assert self.factors is not None
        samplers = [
            LogitSampler(factor=factor, norm=self.recipe.norm, streams=self.stack.streams, seed=seed, site=depth)
            for factor, depth in zip(self.factors, self.depths, strict=True)
        ]
        return RandomMaps(parameters=self, samplers=samplers, tokens=tokens)


@dataclass(frozen=True, kw_only=True, slots=True)
class StaticMaps:
    """Mappings that are at hand: one per site, the same for every token, or those of a few inputs."""

    stack: Stack
    maps: Float[Tensor, "site stream stream token"]
    tokens: int = 1

    def chunk(self, start: int, stop: int, *, device: str = "cpu") -> Float[Tensor, "site stream stream token"]:
        """The mappings; without more of them, those of one pseudo-token."""
        return self.maps[..., start:stop].to(device)


@dataclass(frozen=True, kw_only=True, slots=True)
class RandomMaps:
    """Mappings of random inputs, drawn chunk by chunk."""

    parameters: ParametricStack
    samplers: list[LogitSampler]
    tokens: int

    @property
    def stack(self) -> Stack:
        """The sites."""
        return self.parameters.stack

    def chunk(self, start: int, stop: int, *, device: str = "cpu") -> Float[Tensor, "site stream stream token"]:
        """The mappings of tokens start..stop-1."""
        matrices = len(self.samplers) * self.tokens
        maps = [
            finish(
                self.logits(site, start, stop, device)[None], self.parameters, slice(site, site + 1), matrices=matrices
            )[0]
            for site in range(len(self.samplers))
        ]
        return torch.stack(maps)

    def logits(
        self, site: int, start: int, stop: int, device: str = "cpu"
    ) -> Float[Tensor, "proposal row column token"]:
        """Logits of one site: one site at a time stays in the processor's cache through all Sinkhorn iterations."""
        parameters = self.parameters
        proposals, (rows, columns) = parameters.recipe.proposals, parameters.base.shape[-2:]
        drawn = torch.from_numpy(self.samplers[site].draw(start, stop)).to(device)
        if parameters.recipe.norm.per_stream:
            drawn = drawn.view(rows, proposals, columns, -1).transpose(0, 1)
        else:
            drawn = drawn.view(proposals, rows, columns, -1)
        if parameters.offset is not None:
            drawn = drawn + parameters.offset[site][:, None].to(drawn)
        if parameters.recipe.activation is Activation.TANH:
            drawn = drawn.tanh()
        base = parameters.base[site].unsqueeze(-1).to(device)
        return (drawn * parameters.scale[site].to(device)).add_(base)


def finish(
    logits: Float[Tensor, "site proposal row column token"],
    parameters: ParametricStack,
    sites: slice,
    *,
    matrices: int = 0,
) -> Float[Tensor, "site stream stream token"]:
    """From logits to H_res: constrain, average over proposals, blend, orient.

    Parameters
    ----------
    logits
        As the constraint takes them.
    parameters
        Of all sites.
    sites
        Those of the logits.
    matrices
        See `Constraint.apply`.
    """
    recipe = parameters.recipe
    if recipe.constraint is not None:
        logits = recipe.constraint.apply(logits, matrices=matrices)
    stored = logits.mean(dim=1) if recipe.proposals > 1 else logits[:, 0]
    if parameters.blend is not None:
        stored = parameters.blend.apply(stored, sites)
    return recipe.orient(stored).contiguous()
