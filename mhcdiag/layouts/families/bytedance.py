"""The original hyper-connections (ByteDance, arXiv 2409.19606, algorithm 2): dynamic with a LayerNorm, or static.

The LayerNorm subtracts the mean, so the projection is centred here, and its bias becomes an offset under the tanh. A
centred Gaussian vector of d numbers has d - 1 free directions, while the norm still divides by d.
"""

from collections.abc import Mapping
from math import sqrt

from torch import Tensor

from mhcdiag.layouts.interface import MixerNames, Overrides, Recognition, Site
from mhcdiag.layouts.parametric_layout import ParametricLayout, ResidualPart
from mhcdiag.layouts.spellings import Modules, find_modules, recognise_modules
from mhcdiag.layouts.stored_parts import AlphaGates
from mhcdiag.mappings.inputs import InputNorm
from mhcdiag.mappings.interface import Orientation
from mhcdiag.mappings.parametric import Activation, Recipe
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.results.inspection import Evidence

ROLES = (
    "static_alpha", "static_beta", "dynamic_alpha_fn", "dynamic_alpha_scale", "dynamic_beta_fn", "dynamic_beta_scale",
    "layer_norm.weight", "layer_norm.bias", "norm.gamma", "residual_scale", "H_res_logits",
)  # fmt: skip
DYNAMIC = ("static_alpha", "dynamic_alpha_fn", "dynamic_alpha_scale", "layer_norm.weight")
WORDS = ("static_alpha", "static_beta", "dynamic_alpha", "dynamic_beta")
FOREIGN = {"norm.gamma", "residual_scale", "H_res_logits"}


def _modules(checkpoint: NamedTensors, mixers: MixerNames) -> Modules:
    modules = find_modules(checkpoint, mixers, probes=("static_alpha", "dynamic_alpha_scale"), roles=ROLES)
    return {} if any(FOREIGN & set(roles) for roles in modules.values()) else modules


def _find_dynamic(checkpoint: NamedTensors, mixers: MixerNames) -> Recognition | None:
    modules = _modules(checkpoint, mixers)
    if not any("layer_norm.weight" in roles for roles in modules.values()):
        return None
    return recognise_modules(checkpoint, modules, needed=DYNAMIC, model="HC")


def _find_static(checkpoint: NamedTensors, mixers: MixerNames) -> Recognition | None:
    modules = _modules(checkpoint, mixers)
    if not modules or any({*DYNAMIC[1:], "dynamic_beta_fn"} & set(roles) for roles in modules.values()):
        return None
    return recognise_modules(checkpoint, modules, needed=("static_alpha", "static_beta"), model="SHC")


def _streams(checkpoint: NamedTensors, site: Site) -> int:
    shape = checkpoint.tensors[site.tensors["static_alpha"]].shape
    return shape[0] if len(shape) == 2 and shape[1] == shape[0] + 1 else 0


def _shapes(streams: int) -> Mapping[str, tuple[int, ...]]:
    return {
        "static_alpha": (streams, streams + 1),
        "static_beta": (streams,),
        "dynamic_alpha_fn": (-1, streams + 1),
        "dynamic_alpha_scale": (),
        "layer_norm.weight": (-1,),
        "layer_norm.bias": (-1,),
    }


def _recipe(checkpoint: NamedTensors, _: Recognition, overrides: Overrides, assumed: list[str]) -> Recipe:
    del checkpoint
    if overrides.tanh is None:
        assumed.append("tanh on the input-dependent part (not stored; --tanh/--no-tanh)")
    return _unconstrained(overrides, tanh=overrides.tanh is not False)


def _static_recipe(checkpoint: NamedTensors, _: Recognition, overrides: Overrides, assumed: list[str]) -> Recipe:
    del checkpoint, assumed
    return _unconstrained(overrides, tanh=False)


def _unconstrained(overrides: Overrides, *, tanh: bool) -> Recipe:
    return Recipe(
        norm=InputNorm(per_stream=True, eps=1e-5),
        activation=Activation.TANH if tanh else Activation.NONE,
        constraint=None,
        orientation=overrides.orientation or Orientation.SOURCE_ROWS,
    )


def _residual(values: Mapping[str, Tensor], streams: int) -> ResidualPart:
    base = values["static_alpha"][:, -streams:]
    if "dynamic_alpha_fn" not in values:
        return ResidualPart(base=base, scale=values.get("dynamic_alpha_scale"))
    columns = values["dynamic_alpha_fn"][:, -streams:]
    weighted = columns * values["layer_norm.weight"][:, None]
    width = weighted.shape[0]
    bias = values.get("layer_norm.bias")
    return ResidualPart(
        base=base,
        scale=values["dynamic_alpha_scale"],
        projection=(weighted - weighted.mean(dim=0)) * sqrt(width / (width - 1)),
        free_inputs=width - 1,
        offset=columns.new_zeros(streams) if bias is None else bias @ columns,
    )


SOURCE = "arXiv 2409.19606, algorithm 2: mix = alpha^T @ h"
BYTEDANCE = ParametricLayout(
    name="bytedance-hc",
    source=SOURCE,
    tensors="`*.{static_alpha,dynamic_alpha_fn,dynamic_alpha_scale,layer_norm.weight}`",
    mixing="unconstrained (HC), tanh or not; applied transposed",
    evidence=Evidence.SECONDHAND,
    find=_find_dynamic,
    streams=_streams,
    shapes=_shapes,
    recipe=_recipe,
    residual=_residual,
    roles=("static_alpha", "dynamic_alpha_scale"),
    dynamic_roles=("dynamic_alpha_fn", "layer_norm.weight", "layer_norm.bias"),
    refused=("sinkhorn_iters", "sinkhorn_eps"),
    predicts=False,  # the mean that LayerNorm takes away is folded into the projection, not taken from given streams
    words=WORDS,
    gates=(AlphaGates(),),
)
BYTEDANCE_STATIC = ParametricLayout(
    name="bytedance-shc",
    source=SOURCE + ", without its dynamic part",
    tensors="`*.{static_alpha,static_beta}` [n, n + 1], [n], and no `dynamic_*`",
    mixing="unconstrained and static (SHC); applied transposed",
    evidence=Evidence.SECONDHAND,
    find=_find_static,
    streams=_streams,
    shapes=_shapes,
    recipe=_static_recipe,
    residual=_residual,
    roles=("static_alpha",),
    refused=("tanh", "sinkhorn_iters", "sinkhorn_eps"),
    words=WORDS,
    gates=(AlphaGates(),),
)
