"""Liger-Kernel's LigerMHC: an input-major fused projection `phi`, softmax Sinkhorn, applied as stored."""

from collections.abc import Mapping

from torch import Tensor

from mhcdiag.layouts import checks, stored_parts
from mhcdiag.layouts.interface import MixerNames, Overrides, Recognition, Site
from mhcdiag.layouts.parametric_layout import INPUTS, ParametricLayout, ResidualPart
from mhcdiag.layouts.spellings import find_modules, recognise_modules
from mhcdiag.layouts.stored_parts import FusedGates
from mhcdiag.mappings.constraints import SoftmaxSinkhorn
from mhcdiag.mappings.inputs import InputNorm
from mhcdiag.mappings.interface import Orientation
from mhcdiag.mappings.parametric import Activation, Recipe
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.results.inspection import Evidence


def _find(checkpoint: NamedTensors, mixers: MixerNames) -> Recognition | None:
    modules = find_modules(
        checkpoint, mixers, probes=("alpha_res",), roles=("phi", "b", "alpha_res", "alpha_pre", "alpha_post")
    )
    sites = {path: roles for path, roles in modules.items() if {"phi", "b"} & set(roles)}
    return recognise_modules(checkpoint, sites, needed=("phi", "b", "alpha_res"), model="LigerMHC") if sites else None


def _streams(checkpoint: NamedTensors, site: Site) -> int:
    return stored_parts.streams_of_fused(checkpoint, site, "b")


def _shapes(streams: int) -> Mapping[str, tuple[int, ...]]:
    rows = streams * (streams + 2)
    return {"b": (rows,), "alpha_res": (), "phi": (INPUTS, rows)}


def _recipe(checkpoint: NamedTensors, _: Recognition, overrides: Overrides, assumed: list[str]) -> Recipe:
    return Recipe(
        norm=InputNorm(per_stream=False, eps=1e-6),
        activation=Activation.NONE,
        constraint=SoftmaxSinkhorn(
            # LigerMHC takes tmax and eps as arguments and stores neither: the layout assumes its defaults.
            iterations=checks.iterations(checkpoint, overrides, assumed),
            eps=checks.sinkhorn_eps(checkpoint, overrides, assumed, default=1e-6),
        ),
        orientation=overrides.orientation or Orientation.TARGET_ROWS,
    )


def _residual(values: Mapping[str, Tensor], streams: int) -> ResidualPart:
    return ResidualPart(
        base=stored_parts.residual_block(values["b"], streams),
        scale=values["alpha_res"],
        projection=stored_parts.residual_columns(values, "phi", streams, input_major=True),
    )


LIGER = ParametricLayout(
    name="liger",
    source="liger-kernel 0.8.5, transformers/mhc.py",
    tensors="`*.phi` [nC, n*n + 2n] beside `*.b` and `*.alpha_res`",
    mixing="softmax Sinkhorn; applied as stored",
    evidence=Evidence.PACKAGE,
    find=_find,
    streams=_streams,
    shapes=_shapes,
    recipe=_recipe,
    residual=_residual,
    roles=("b", "alpha_res"),
    dynamic_roles=("phi",),
    words=("alpha_res",),
    gates=(FusedGates("b"),),
)
