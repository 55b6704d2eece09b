"""How far the input-dependent part moves the logits of H_pre and H_post: their deviation over inputs of RMS 1.

Layouts read the residual part alone, and keep pre and post in three ways: as slices of one projection, as projections
named alike, or as the other columns of `dynamic_alpha_fn`. What their norm does to the projection (its weight, a
factor) is seen by asking the layout for the residual projection of ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mhcdiag.layouts.checks import read_float
from mhcdiag.layouts.interface import Layout, Projecting, Recognition, Site
from mhcdiag.layouts.stored_parts import fused_rows
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.weight_readers.alternatives import Overlaid
from mhcdiag.weight_readers.records import GateSpread

PARTS = ("pre", "post")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Projected:
    """One part's columns and the factor on them."""

    columns: Float[Tensor, "input logit"]
    scale: Tensor


def read_gate_spreads(
    checkpoint: NamedTensors, layout: Layout, recognition: Recognition, streams: int
) -> tuple[GateSpread, ...] | None:
    """The deviations of every site; None where a site does not have them in a known way."""
    found = []
    for site in recognition.sites:
        spread = _of_site(checkpoint, layout, site, streams)
        if spread is None:
            return None
        found.append(spread)
    return tuple(found)


def _of_site(checkpoint: NamedTensors, layout: Layout, site: Site, streams: int) -> GateSpread | None:
    factors = _norm_factors(checkpoint, layout, site, streams)
    if factors is None:
        return None
    if "dynamic_alpha_fn" in site.tensors:
        parts = _beside_alpha(checkpoint, site, streams)
    else:
        parts = _slices(checkpoint, layout, site, streams, factors)
        parts = _twins(checkpoint, site, streams) if parts is None else parts
    if parts is None or any(part.columns.shape[0] != len(factors) for part in parts.values()):
        return None
    found = {}
    for part, projected in parts.items():
        lengths = (projected.columns.double() * factors[:, None]).norm(dim=0)
        found[part] = (projected.scale.double().abs() * lengths).expand(streams)
    return GateSpread(pre=found["pre"], post=found["post"])


def _wide(checkpoint: NamedTensors, site: Site) -> list[str]:
    return [name for name in site.tensors.values() if len(checkpoint.tensors[name].shape) >= 2]


def _norm_factors(checkpoint: NamedTensors, layout: Layout, site: Site, streams: int) -> Float[Tensor, " input"] | None:
    """What the layout multiplies each input's entries of the projection by; None where it has no projection."""
    wide = _wide(checkpoint, site)
    if not isinstance(layout, Projecting):  # our toy, whose norm has no weight
        shapes = [checkpoint.tensors[name].shape for name in wide]
        inputs = max((max(shape) for shape in shapes if shape != (streams, streams)), default=0)
        return torch.ones(inputs, dtype=torch.float64) if inputs else None
    column: Tensor = _projected(
        checkpoint, layout, site, streams, {name: torch.ones(_shape(checkpoint, name)) for name in wide}
    )
    return column[:, 0]


def _shape(checkpoint: NamedTensors, name: str) -> tuple[int, ...]:
    return checkpoint.tensors[name].shape


def _projected(
    checkpoint: NamedTensors, layout: Projecting, site: Site, streams: int, values: Mapping[str, Tensor]
) -> Float[Tensor, "input logit"]:
    """The residual projection that the layout makes of these values."""
    return layout.projection_of(Overlaid(checkpoint, values), site, streams).double()


def _slices(
    checkpoint: NamedTensors, layout: Layout, site: Site, streams: int, factors: Tensor
) -> Mapping[str, _Projected] | None:
    """Rows (or columns) 0..n and n..2n of a fused projection; factors as one tensor of three, or named alike."""
    rows, inputs = fused_rows(streams), len(factors)
    scales = _scales(checkpoint, site)
    if scales is None or not isinstance(layout, Projecting):
        return None
    for name in _wide(checkpoint, site):
        for axis in (0, 1):
            shape = _shape(checkpoint, name)
            if shape not in ((rows, inputs), (inputs, rows)) or shape[axis] != rows:
                continue
            # A square one does not show which way it lies: numbered along this axis, its residual columns do.
            numbers = torch.arange(rows, dtype=torch.float64)
            marked = (numbers[:, None] if axis == 0 else numbers[None]).expand(shape).float()
            seen = _projected(checkpoint, layout, site, streams, {name: marked})
            expected = factors[:, None] * numbers[2 * streams :]
            if seen.shape == expected.shape and torch.allclose(seen, expected, rtol=1e-4, atol=1e-6):
                weight = read_float(checkpoint, name)
                weight = weight.T if axis == 0 else weight
                return {
                    part: _Projected(columns=weight[:, at * streams : (at + 1) * streams], scale=scales[part])
                    for at, part in enumerate(PARTS)
                }
    return None


def _scales(checkpoint: NamedTensors, site: Site) -> Mapping[str, Tensor] | None:
    three = [name for name in site.tensors.values() if checkpoint.tensors[name].shape == (3,)]
    if len(three) == 1:
        values = read_float(checkpoint, three[0])
        return {part: values[at] for at, part in enumerate(PARTS)}
    named = {part: _twin(checkpoint, site, part, 1) for part in PARTS}
    if any(len(names) != 1 for names in named.values()):
        return None
    return {part: read_float(checkpoint, names[0]).reshape(()) for part, names in named.items()}


def _twins(checkpoint: NamedTensors, site: Site, streams: int) -> Mapping[str, _Projected] | None:
    """Projections [n, n*C] named as the residual one, `pre` and `post` for `res`."""
    scales = _scales(checkpoint, site)
    wide = {
        part: [name for name in _twin(checkpoint, site, part, None) if len(checkpoint.tensors[name].shape) == 2]
        for part in PARTS
    }
    if scales is None or any(len(names) != 1 for names in wide.values()):
        return None
    found = {}
    for part, (name,) in wide.items():
        weight = read_float(checkpoint, name)
        weight = weight.T if weight.shape[0] == streams else weight
        if weight.shape[1] != streams:
            return None
        found[part] = _Projected(columns=weight, scale=scales[part])
    return found


def _twin(checkpoint: NamedTensors, site: Site, part: str, size: int | None) -> list[str]:
    """Tensors named as one of the site's, `pre` or `post` for `res`, of one number where that is asked for."""
    found = []
    for name in site.tensors.values():
        start, leaf = name.rpartition(".")[0], name.rpartition(".")[2]
        if leaf == "weight":  # phi_res.weight
            start, leaf = start.rpartition(".")[0], f"{start.rpartition('.')[2]}.weight"
        other = f"{start}.{leaf.replace('res', part)}" if start else leaf.replace("res", part)
        info = checkpoint.tensors.get(other)
        if info is None or other == name or (size == 1) != (info.shape in ((), (1,))):
            continue
        found.append(other)
    return list(dict.fromkeys(found))


def _beside_alpha(checkpoint: NamedTensors, site: Site, streams: int) -> Mapping[str, _Projected] | None:
    """Columns of `dynamic_alpha_fn` before the residual ones, the mean over views, and `dynamic_beta_fn`."""
    scales = [site.tensors.get(role) for role in ("pre_branch_scale", "h_post_scale")]
    beta = site.tensors.get("dynamic_beta_fn")
    if beta is None or None in scales:
        return None
    alpha, static = (read_float(checkpoint, site.tensors[role]) for role in ("dynamic_alpha_fn", "static_alpha"))
    if alpha.ndim == 3:  # proposals, whose gates are averaged: the one that moves most
        alpha = alpha[alpha[..., :-streams].norm(dim=(1, 2)).argmax()]
    if static.ndim == 1:  # mHC-lite and KromHC: n weights of each view, then coefficients
        columns = alpha[:, :streams]
    elif alpha.shape[1] == static.numel():  # mhc-lite's mHC: (v + n) columns for each stream
        columns = alpha.view(-1, *static.shape)[..., :-streams].mean(dim=-1)
    else:
        columns = alpha[:, :-streams].mean(dim=-1, keepdim=True)
    post = read_float(checkpoint, beta)
    post = post[:, None] if post.ndim == 1 else post
    if post.shape[0] != alpha.shape[0] or post.shape[1] not in (1, streams):
        return None
    pre_scale, post_scale = (read_float(checkpoint, str(name)).reshape(()) for name in scales)
    return {
        "pre": _Projected(columns=columns, scale=pre_scale),
        "post": _Projected(columns=post, scale=post_scale),
    }
