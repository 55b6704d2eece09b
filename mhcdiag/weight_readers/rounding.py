"""Mixing parameters that are stored in 16 bits, and the mappings that they may have been before they were rounded."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from mhcdiag.layouts.interface import Layout, Overrides, Projecting, Recognition
from mhcdiag.layouts.readings import ParametricReading
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.weight_readers.alternatives import Overlaid, given_maps
from mhcdiag.weight_readers.records import Coarse

DIGITS = {"BF16": 8, "F16": 11}
"""Binary digits of a stored value, the leading one counted."""
PUBLISHED: Mapping[str, frozenset[str]] = {
    "openpangu": frozenset({"phi", "branch_alpha", "branch_beta", "norm_gamma"}),
    "nanowhale": frozenset({"fn", "base", "scale"}),
    "glm5-next": frozenset({"fn"}),
    "liger": frozenset({"phi"}),
    "deepseek-v4-gguf": frozenset({"fn"}),
}
"""Roles that a family itself keeps in 16 bits: released so, or created so by its code (GLM-5.3-Flash, Liger)."""
TOKENS, DRAWS = 32, 3


def stored_coarsely(checkpoint: NamedTensors, layout: Layout, recognition: Recognition) -> Coarse:
    """What of the mixing parameters is stored in 16 bits."""
    usual = PUBLISHED.get(layout.name, frozenset())
    found = [
        (role, name)
        for site in recognition.sites
        for role, name in site.tensors.items()
        if checkpoint.tensors[name].dtype in DIGITS
    ]
    names = tuple(dict.fromkeys(name for _, name in found))
    return Coarse(
        names=names,
        dtypes=tuple(sorted({checkpoint.tensors[name].dtype for name in names})),
        unusual=any(role not in usual for role, _ in found),
    )


def redrawn_maps(
    checkpoint: NamedTensors, layout: Layout, recognition: Recognition, overrides: Overrides, *, dynamic: bool
) -> Iterator[Float[Tensor, "site stream stream token"]]:
    """H_res on random streams: of the parameters as stored, then of `DRAWS` that are rounded to the same.

    The streams are drawn themselves, the same for all: the projection enters with every one of its entries, each of
    which was rounded on its own.

    Parameters
    ----------
    dynamic
        Whether the input-dependent part counts.
    """
    per_site = [
        _of_site(checkpoint, layout, replace(recognition, sites=(site,)), overrides, dynamic=dynamic, seed=at)
        for at, site in enumerate(recognition.sites)
    ]
    for draw in range(DRAWS + 1):
        yield torch.stack([maps[draw] for maps in per_site])


def _of_site(
    checkpoint: NamedTensors,
    layout: Layout,
    recognition: Recognition,
    overrides: Overrides,
    *,
    dynamic: bool,
    seed: int,
) -> list[Float[Tensor, "stream stream token"]]:
    (site,) = recognition.sites
    stored = {name: checkpoint.read(name) for name in site.tensors.values()}
    generator = torch.Generator().manual_seed(seed)
    found = []
    streams: Tensor | None = None
    for draw in range(DRAWS + 1):
        values = {name: _redrawn(value, generator) if draw else value for name, value in stored.items()}
        overlaid = Overlaid(checkpoint, values)
        reading = layout.read(overlaid, recognition, overrides, dynamic=False)
        assert isinstance(reading, ParametricReading)
        parameters, count = reading.parameters, reading.stack.streams
        projection = None
        if dynamic and parameters.input_dependent and isinstance(layout, Projecting) and layout.predicts:
            projection = layout.projection_of(overlaid, site, count)
        if streams is None:
            wide = 1 if projection is None else projection.shape[0]
            width = wide if parameters.recipe.norm.per_stream else max(1, wide // count)
            streams = torch.randn(TOKENS, count, width, generator=generator)
        found.append(given_maps(parameters, projection, streams).permute(1, 2, 0).double())
    return found


def _redrawn(value: Tensor, generator: torch.Generator) -> Tensor:
    """A float32 value, uniform among those that are rounded to the stored one; float32 itself stays as it is."""
    digits = {torch.bfloat16: DIGITS["BF16"], torch.float16: DIGITS["F16"]}.get(value.dtype)
    if digits is None:
        return value
    finest = torch.finfo(value.dtype).tiny * torch.finfo(value.dtype).eps  # below it the numbers lie evenly
    last = torch.ldexp(torch.ones(value.shape), torch.frexp(value.float()).exponent - digits).clamp(min=finest)
    noise = torch.rand(value.shape, generator=generator) - 0.5
    return torch.where(value == 0, value.float(), value.float() + noise * last)
