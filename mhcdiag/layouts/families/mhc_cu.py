"""mHC.cu (AndreSlavescu): the CUDA layer, with input-dependent or static residual logits."""

from collections.abc import Mapping

from torch import Tensor

from mhcdiag.layouts import checks, stored_parts
from mhcdiag.layouts.interface import MixerNames, Overrides, Recognition, Site
from mhcdiag.layouts.parametric_layout import INPUTS, ParametricLayout, ResidualPart
from mhcdiag.layouts.spellings import find_modules, recognise_modules
from mhcdiag.layouts.stored_parts import SeparateGates
from mhcdiag.mappings.constraints import ROWS, ExpSinkhorn, Guard
from mhcdiag.mappings.inputs import InputNorm
from mhcdiag.mappings.interface import Orientation
from mhcdiag.mappings.parametric import Activation, Recipe
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.results.inspection import Evidence


def _find(checkpoint: NamedTensors, mixers: MixerNames) -> Recognition | None:
    if checks.is_toy(checkpoint):
        return None
    modules = find_modules(
        checkpoint,
        mixers,
        probes=("phi_res", "H_res"),
        roles=("phi_res", "b_res", "alpha_res", "H_res", "H_pre", "H_post"),
    )
    if not modules:
        return None
    is_dynamic = any("phi_res" in roles for roles in modules.values())
    needed = ("phi_res", "b_res", "alpha_res") if is_dynamic else ("H_res", "H_pre", "H_post")
    return recognise_modules(checkpoint, modules, needed=needed, model="dynamic" if is_dynamic else "static")


def _logits(site: Site) -> str:
    return "b_res" if "b_res" in site.tensors else "H_res"


def _streams(checkpoint: NamedTensors, site: Site) -> int:
    return stored_parts.streams_of_square(checkpoint, site, _logits(site))


def _shapes(streams: int) -> Mapping[str, tuple[int, ...]]:
    square = (streams, streams)
    return {"b_res": square, "H_res": square, "alpha_res": (), "phi_res": (streams * streams, INPUTS)}


def _recipe(checkpoint: NamedTensors, _: Recognition, overrides: Overrides, assumed: list[str]) -> Recipe:
    return Recipe(
        norm=InputNorm(per_stream=False, eps=1e-5),
        activation=Activation.NONE,
        constraint=ExpSinkhorn(
            iterations=checks.iterations(checkpoint, overrides, assumed),
            eps=checks.sinkhorn_eps(checkpoint, overrides, assumed, default=1e-5),
            first=ROWS,
            guard=Guard.SKIP,
            shift=(),
        ),
        orientation=overrides.orientation or Orientation.TARGET_ROWS,
    )


def _residual(values: Mapping[str, Tensor], streams: int) -> ResidualPart:
    del streams
    if "H_res" in values:
        return ResidualPart(base=values["H_res"])
    projection = values["phi_res"].T if "phi_res" in values else None
    return ResidualPart(base=values["b_res"], scale=values["alpha_res"], projection=projection)


MHC_CU = ParametricLayout(
    name="mhc-cu",
    source="AndreSlavescu/mHC.cu, sinkhorn_knopp.cuh and stream_ops.cuh: out_i = sum_j M[i, j] x_j",
    tensors="`*.{phi_res,b_res,alpha_res}`, or `*.{H_res,H_pre,H_post}` (static)",
    mixing="exp Sinkhorn, rows then columns; applied as stored",
    evidence=Evidence.SOURCE,
    find=_find,
    streams=_streams,
    shapes=_shapes,
    recipe=_recipe,
    residual=_residual,
    roles=("b_res", "H_res", "alpha_res"),
    dynamic_roles=("phi_res",),
    words=("phi_res", "phi_pre", "phi_post", "b_res", "alpha_res"),
    gates=(SeparateGates("b_res"), SeparateGates("H_res")),
)
