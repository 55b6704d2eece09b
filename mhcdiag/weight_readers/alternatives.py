"""Other readings of the same weights: slices in another order, other iterations, another eps.

Where a running implementation follows one of them better than the layout, that is its bug (or the layout's).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import permutations
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mhcdiag.errors import SettingError
from mhcdiag.layouts.interface import Layout, Overrides, Projecting, Recognition, Site
from mhcdiag.layouts.readings import ParametricReading
from mhcdiag.layouts.stored_parts import FusedGates
from mhcdiag.mappings.inputs import project
from mhcdiag.mappings.interface import Orientation
from mhcdiag.mappings.parametric import Activation, ParametricStack, finish
from mhcdiag.namedtensors import NamedTensors, TensorInfo, prefetch
from mhcdiag.weight_readers.records import Prediction, SiteActivations


def given_maps(
    parameters: ParametricStack, projection: Tensor | None, x: Float[Tensor, "token stream width"]
) -> Float[Tensor, "token stream stream"]:
    """H_res of the first site for these streams.

    Parameters
    ----------
    projection
        W [n*C, logit] of a flattened norm or [C, logit] of one per stream, norm weight folded in; None where nothing
        depends on the input.
    """
    recipe, (rows, columns) = parameters.recipe, parameters.base.shape[-2:]
    logits = parameters.base[0].unsqueeze(-1).expand(recipe.proposals, rows, columns, len(x))
    if projection is not None:
        if recipe.norm.per_stream:
            projected = project(x.flatten(0, 1), projection.float(), recipe.norm)
            moving = projected.view(len(x), rows, recipe.proposals, columns).permute(2, 1, 3, 0)
        else:
            projected = project(x.flatten(1), projection.float(), recipe.norm)
            moving = projected.T.reshape(recipe.proposals, rows, columns, -1)
        if recipe.activation is Activation.TANH:
            moving = torch.tanh(moving)
        logits = logits + parameters.scale[0] * moving
    return finish(logits.clone()[None], parameters, slice(0, 1))[0].permute(2, 0, 1).float()


OWN = "the layout"
# Among them what implementations have: 2 iterations (nanowhale), 10 (TileKernels, tokenbender), 20 (the paper); eps
# 1e-5 (mHC.cu), 1e-6 (DeepSeek-V4), 1e-8 (Motif-3), 1e-12 (hyper-connections, MAGI-2).
ITERATIONS = (1, 2, 3, 5, 10, 20, 40, 100)
EPS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-8, 1e-12)
_ORDERS = tuple(order for order in permutations(("pre", "post", "res")) if order != ("pre", "post", "res"))


class Overlaid:
    """A checkpoint of which some tensors are replaced."""

    def __init__(self, checkpoint: NamedTensors, values: Mapping[str, Tensor]) -> None:
        self._checkpoint, self._values = checkpoint, values
        self.path, self.config, self.metadata = checkpoint.path, checkpoint.config, checkpoint.metadata
        self.bytes_total, self.bytes_read = checkpoint.bytes_total, 0

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """Those of the checkpoint."""
        return self._checkpoint.tensors

    def read(self, name: str, *, rows: slice | None = None) -> Tensor:
        """A copy of what replaces a tensor, else the tensor."""
        if name not in self._values:
            return self._checkpoint.read(name, rows=rows)
        return (self._values[name] if rows is None else self._values[name][rows]).clone()


def predictions(
    layout: Layout,
    checkpoint: NamedTensors,
    recognition: Recognition,
    overrides: Overrides,
    activations: Sequence[SiteActivations],
) -> dict[str, Prediction]:
    """What the weights predict for captured streams, by the layout itself and by each other reading.

    Returns
    -------
    dict
        By reading, `OWN` first; empty where the layout offers no projection of given streams.

    Raises
    ------
    SettingError
        The captured streams have another width than the model.
    """
    if not (isinstance(layout, Projecting) and layout.predicts):
        return {}
    found: dict[str, list[tuple[Tensor, Tensor | None]]] = {}
    for site, seen in zip(recognition.sites, activations, strict=True):
        prefetch(checkpoint, list(site.tensors.values()))
        for name, maps, post in _of_site(layout, checkpoint, replace(recognition, sites=(site,)), overrides, seen.x_in):
            found.setdefault(name, []).append((maps, post))
    return {
        name: Prediction(h_res=tuple(maps for maps, _ in each), post=tuple(post for _, post in each))
        for name, each in found.items()
    }


def _of_site(
    layout: Any, checkpoint: NamedTensors, recognition: Recognition, overrides: Overrides, x: Tensor
) -> Iterator[tuple[str, Tensor, Tensor | None]]:
    (site,) = recognition.sites
    stored = {name: checkpoint.read(name) for name in site.tensors.values()}
    streams = x.shape[1]
    for name, values in ((OWN, stored), *_reordered(stored, streams)):
        overlaid = Overlaid(checkpoint, values)
        reading = layout.read(overlaid, recognition, overrides, dynamic=False)
        if not isinstance(reading, ParametricReading):
            return
        parameters = reading.parameters
        projection = layout.projection_of(overlaid, site, streams) if parameters.input_dependent else None
        wide = x[0].numel() if not parameters.recipe.norm.per_stream else x.shape[-1]
        if projection is not None and projection.shape[0] != wide:
            found = f"{wide} numbers a token, the projection of site {site.name} takes {projection.shape[0]}"
            raise SettingError(f"captured streams have {found}")
        post = _post(layout, site, values, parameters, x)
        yield name, given_maps(parameters, projection, x), post
        if name == OWN:
            for other, changed in _other_recipes(parameters):
                yield other, given_maps(changed, projection, x), post


def _reordered(stored: Mapping[str, Tensor], streams: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Fused tensors as an implementation sees them that splits them in another order, scales in that order or not."""
    rows = streams * (streams + 2)
    if not any(rows in value.shape for value in stored.values()):
        return
    sizes = {"pre": streams, "post": streams, "res": streams * streams}
    for order in _ORDERS:
        starts, start = {}, 0
        for part in order:
            starts[part] = start
            start += sizes[part]
        index = torch.cat([torch.arange(starts[part], starts[part] + sizes[part]) for part in sizes])
        moved = {name: _take(value, index, rows) for name, value in stored.items()}
        yield f"slices in the order {'|'.join(order)}", moved
        scales = torch.tensor([order.index(part) for part in sizes])
        if any(value.shape == (3,) for value in stored.values()):
            both = {name: value[scales] if value.shape == (3,) else value for name, value in moved.items()}
            yield f"slices and scales in the order {'|'.join(order)}", both


def _take(value: Tensor, index: Tensor, rows: int) -> Tensor:
    return value.index_select(value.shape.index(rows), index) if rows in value.shape else value


def _other_recipes(parameters: ParametricStack) -> Iterator[tuple[str, ParametricStack]]:
    recipe = parameters.recipe
    constraint: Any = recipe.constraint
    for field, values, said in (
        ("iterations", ITERATIONS, "{} Sinkhorn iterations"),
        ("eps", EPS, "Sinkhorn eps {:g}"),
    ):
        own = getattr(constraint, field, None)
        for value in values if own is not None else ():
            if value != own:
                changed = replace(recipe, constraint=replace(constraint, **{field: value}))
                yield said.format(value), replace(parameters, recipe=changed)
    other = Orientation.TARGET_ROWS if recipe.orientation is Orientation.SOURCE_ROWS else Orientation.SOURCE_ROWS
    yield "H transposed", replace(parameters, recipe=replace(recipe, orientation=other))
    for eps in EPS:
        if eps != recipe.norm.eps and not recipe.norm.clamped:  # a smallest norm is never reached by real streams
            yield f"norm eps {eps:g}", replace(parameters, recipe=replace(recipe, norm=replace(recipe.norm, eps=eps)))
    if constraint is None:
        without = recipe.activation is Activation.TANH
        changed = replace(recipe, activation=Activation.NONE if without else Activation.TANH)
        yield f"{'no ' if without else ''}tanh on the input-dependent part", replace(parameters, recipe=changed)


def _post(
    layout: Layout, site: Site, values: Mapping[str, Tensor], parameters: ParametricStack, x: Tensor
) -> Tensor | None:
    """2 sigmoid of the post logits, where they are a slice of one bias and of one projection without norm weight."""
    streams = x.shape[1]
    rows, inputs = streams * (streams + 2), x[0].numel()
    roles = [stored.role for stored in layout.gates if isinstance(stored, FusedGates)]
    bias = next((values[site.tensors[role]] for role in roles if role in site.tensors), None)
    fused = [value for value in values.values() if value.ndim == 2 and set(value.shape) == {rows, inputs}]
    scales = [value for value in values.values() if value.shape == (3,)]
    weighted = any(value.ndim == 1 and len(value) == inputs for value in values.values())
    if bias is None or bias.shape != (rows,) or len(fused) != 1 or len(scales) != 1 or weighted:
        return None
    weight = fused[0] if fused[0].shape[0] == inputs else fused[0].T
    part = slice(streams, 2 * streams)
    logits = project(x.flatten(1), weight[:, part].float(), parameters.recipe.norm)
    return 2 * torch.sigmoid(logits * scales[0][1].float() + bias[part].float())
