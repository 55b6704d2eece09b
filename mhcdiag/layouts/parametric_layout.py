"""A layout made of data and small functions: how its sites are spelled, which shapes they have, where H_res stands.

The families differ in names, slices and constants only; what they share stands here once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mhcdiag.errors import LayoutError
from mhcdiag.layouts.checks import describe_nonfinite, read_float, refuse_overrides, require_shape
from mhcdiag.layouts.interface import MixerNames, Overrides, Recognition, Site, StoredGates
from mhcdiag.layouts.readings import ParametricReading, Reading
from mhcdiag.mappings.inputs import LogitFactor, logit_factor
from mhcdiag.mappings.interface import Stack
from mhcdiag.mappings.parametric import Blend, BlendTarget, ParametricStack, Recipe
from mhcdiag.namedtensors import NamedTensors, prefetch
from mhcdiag.results.inspection import Evidence

ANY, INPUTS = -1, -2
"""Sizes in expected shapes: any; and n*C, the same in all tensors of a site and a multiple of n."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ResidualPart:
    """What one site's parameters say about H_res."""

    base: Tensor
    """[row, column] as stored; coefficients are one row."""
    scale: Tensor | None = None
    """Factor on the input-dependent part, one number; None where there is no such part."""
    projection: Tensor | None = None
    """[input, logit], the weight of the norm folded in; None where it was not read."""
    free_inputs: int | None = None
    """Free directions of the normalised input where its norm takes some away (LayerNorm); None: all."""
    offset: Tensor | None = None
    """[column], added to each row of the projected input; None adds nothing."""
    blend: Tensor | None = None
    """Weight of the blend target, one number; None where nothing is blended."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ParametricLayout:
    """One implementation family."""

    name: str
    source: str
    tensors: str
    mixing: str
    evidence: Evidence
    find: Callable[[NamedTensors, MixerNames], Recognition | None]
    """The sites; None where this is another layout. Usually the method of a spelling."""
    streams: Callable[[NamedTensors, Site], int]
    """Number of streams by the shapes of one site; 0 where they fit no number."""
    shapes: Callable[[int], Mapping[str, tuple[int, ...]]]
    """Expected shape by role for n streams; roles that a site lacks are not checked."""
    recipe: Callable[[NamedTensors, Recognition, Overrides, list[str]], Recipe]
    """How the logits become H_res; appends what it assumes to the list."""
    residual: Callable[[Mapping[str, Tensor], int], ResidualPart]
    """The residual part from a site's tensors by role, for n streams."""
    roles: tuple[str, ...]
    """Tensors to read for the input-independent part; the first is named in messages."""
    dynamic_roles: tuple[str, ...] = ()
    """Further tensors that the input-dependent part needs."""
    refused: tuple[str, ...] = ("tanh",)
    """Overrides that mean nothing here."""
    blend_target: BlendTarget | None = None
    notes: Callable[[NamedTensors], tuple[str, ...]] = lambda _: ()
    composes: bool = True
    """Whether the streams persist from site to site, so that the product of mappings means something."""
    starts_equal: bool = False
    """Whether the streams are known to begin as copies of the embedding."""
    predicts: bool = True
    """Whether the projection says what H_res is for given streams, not only how it is distributed."""
    accept: Callable[[NamedTensors, Recognition], Recognition | None] = lambda _, found: found
    """A last look at what was found: completes it, or says None where it is another layout after all."""
    words: tuple[str, ...] = ()
    gates: tuple[StoredGates, ...] = ()
    module_paths: tuple[str, ...] = ("",)

    def recognise(self, checkpoint: NamedTensors, mixers: MixerNames) -> Recognition | None:
        """See `Layout`."""
        found = self.find(checkpoint, mixers)
        return None if found is None else self.accept(checkpoint, found)

    def read(
        self, checkpoint: NamedTensors, recognition: Recognition, overrides: Overrides, *, dynamic: bool
    ) -> Reading:
        """See `Layout`."""
        refuse_overrides(overrides, self.name, *self.refused)
        assumed: list[str] = []
        recipe = self.recipe(checkpoint, recognition, overrides, assumed)
        sites = recognition.sites
        streams = self.streams(checkpoint, sites[0])
        parts, nonfinite = [], []
        wanted = (*self.roles, *self.dynamic_roles) if dynamic else self.roles
        for site in sites:
            self._check_shapes(checkpoint, site, streams)
        # All at once: from a server, one round of requests instead of one for each tensor.
        prefetch(checkpoint, [site.tensors[role] for site in sites for role in wanted if role in site.tensors])
        for site in sites:
            roles = [role for role in wanted if role in site.tensors]
            values = {role: read_float(checkpoint, site.tensors[role]) for role in roles}
            broken = describe_nonfinite(site, {site.tensors[role]: value for role, value in values.items()})
            nonfinite += [] if broken is None else [broken]
            parts.append(self.residual(values, streams))
        parameters = ParametricStack(
            stack=Stack(
                sites=tuple(site.name for site in sites),
                tensors=tuple(next(site.tensors[r] for r in self.roles if r in site.tensors) for site in sites),
                streams=streams,
            ),
            depths=tuple(site.depth for site in sites),
            recipe=recipe,
            base=torch.stack([part.base for part in parts]),
            scale=torch.stack([_one(part.scale) for part in parts]),
            factors=_factors(parts, recipe),
            input_dependent=parts[0].scale is not None,
            blend=self._blend(parts),
            offset=_offset(parts),
        )
        return ParametricReading(
            parameters=parameters,
            assumed=tuple(assumed),
            notes=self.notes(checkpoint),
            nonfinite=tuple(nonfinite),
            composes=self.composes,
        )

    def projection_of(self, checkpoint: NamedTensors, site: Site, streams: int) -> Tensor:
        """The residual projection [n*C, logit] of one site, norm weight folded in."""
        roles = [role for role in (*self.roles, *self.dynamic_roles) if role in site.tensors]
        projection = self.residual({r: read_float(checkpoint, site.tensors[r]) for r in roles}, streams).projection
        assert projection is not None
        return projection

    def _blend(self, parts: Sequence[ResidualPart]) -> Blend | None:
        if self.blend_target is None or parts[0].blend is None:
            return None
        return Blend(weight=torch.stack([_one(part.blend) for part in parts]), target=self.blend_target)

    def _check_shapes(self, checkpoint: NamedTensors, site: Site, streams: int) -> None:
        if streams < 1 or self.streams(checkpoint, site) != streams:
            name = next(site.tensors[role] for role in self.roles if role in site.tensors)
            raise LayoutError(
                checkpoint.path,
                found=f"tensor {name} has shape {list(checkpoint.tensors[name].shape)}",
                expected=f"the shape of {streams} streams, as at the first site" if streams else "n streams, n >= 1",
                hint="this is another layout or a damaged checkpoint",
            )
        inputs = ANY
        for role, expected in self.shapes(streams).items():
            if role not in site.tensors:
                continue
            name = site.tensors[role]
            found = checkpoint.tensors[name].shape
            if INPUTS in expected and len(found) == len(expected) and inputs == ANY:
                inputs = found[expected.index(INPUTS)] // streams * streams
            shape = tuple(inputs if size == INPUTS else size for size in expected)
            if expected == () and found == (1,):
                continue  # a scalar parameter is stored as [] or [1]
            require_shape(checkpoint, name, shape, meaning=f"for n = {streams} streams")


def _factors(parts: Sequence[ResidualPart], recipe: Recipe) -> tuple[LogitFactor, ...] | None:
    if parts[0].projection is None:
        return None
    return tuple(_factor(part, keep=recipe.unconstrained) for part in parts)


def _factor(part: ResidualPart, *, keep: bool) -> LogitFactor:
    assert part.projection is not None
    factor = logit_factor(part.projection, keep=keep)
    return factor if part.free_inputs is None else replace(factor, inputs=part.free_inputs)


def _offset(parts: Sequence[ResidualPart]) -> Tensor | None:
    offsets = [part.offset for part in parts if part.offset is not None]
    return torch.stack(offsets) if offsets else None


def _one(value: Tensor | None) -> Tensor:
    return torch.zeros(()) if value is None else value.reshape(())
