"""Motif-3: separate projections, clamped logits, exp Sinkhorn, applied as stored."""

import re
from collections.abc import Mapping

from torch import Tensor

from mhcdiag.layouts import checks, stored_parts
from mhcdiag.layouts.interface import Overrides, Recognition, Site
from mhcdiag.layouts.parametric_layout import INPUTS, ParametricLayout, ResidualPart
from mhcdiag.layouts.spellings import BlockSpelling
from mhcdiag.layouts.stored_parts import SeparateGates
from mhcdiag.mappings.constraints import ROWS, ExpSinkhorn, Guard
from mhcdiag.mappings.inputs import InputNorm
from mhcdiag.mappings.interface import Orientation
from mhcdiag.mappings.parametric import Activation, Recipe
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.results.inspection import Evidence

_SPELLING = BlockSpelling(
    patterns=(
        re.compile(
            r"^(?P<prefix>(?:.*\.)?)layers\.(?P<layer>\d+)\.mhc_(?P<kind>attn|ffn)\."
            r"(?P<role>proj_res|proj_pre|proj_post|proj_merged|rms_norm|bias_res|bias_pre|bias_post|"
            r"alpha_res|alpha_pre|alpha_post)(?:\.weight)?$"
        ),
    ),
    excluded=re.compile(r"(?:^|\.)mtp"),
    required=("bias_res", "alpha_res"),
)


def _streams(checkpoint: NamedTensors, site: Site) -> int:
    return stored_parts.streams_of_square(checkpoint, site, "bias_res")


def _shapes(streams: int) -> Mapping[str, tuple[int, ...]]:
    return {
        "bias_res": (streams, streams),
        "alpha_res": (1,),
        "proj_res": (streams * streams, INPUTS),
        "proj_merged": (streams * (streams + 2), INPUTS),
        "rms_norm": (INPUTS,),
    }


def _recipe(checkpoint: NamedTensors, _: Recognition, overrides: Overrides, assumed: list[str]) -> Recipe:
    return Recipe(
        norm=InputNorm(per_stream=False, eps=1e-6),
        activation=Activation.NONE,
        constraint=ExpSinkhorn(
            iterations=checks.iterations(checkpoint, overrides, assumed, "mhc_sinkhorn_iters"),
            eps=checks.sinkhorn_eps(checkpoint, overrides, assumed, default=1e-8),
            first=ROWS,
            guard=Guard.FLOOR,
            shift=(),
            limit=20.0,  # its code cuts off at 20; at 10 for pre and post
        ),
        orientation=overrides.orientation or Orientation.TARGET_ROWS,
    )


def _residual(values: Mapping[str, Tensor], streams: int) -> ResidualPart:
    weight = values.get("rms_norm")
    # The torchtitan variant merges its three projections, in the order pre, post, res.
    projection = stored_parts.residual_columns(values, "proj_merged", streams, weight=weight)
    if "proj_res" in values:
        projection = values["proj_res"].T if weight is None else values["proj_res"].T * weight[:, None]
    return ResidualPart(base=values["bias_res"], scale=values["alpha_res"], projection=projection)


MOTIF = ParametricLayout(
    name="motif-3",
    source="MotifTechnologies Motif-3 modeling code and vLLM's: logits cut off at 20, h_res @ x",
    tensors="`model.layers.N.mhc_attn.{proj_res.weight,bias_res,alpha_res,rms_norm.weight}`, `mhc_ffn.*`",
    mixing="exp Sinkhorn, rows then columns, logits cut off at +-20; applied as stored",
    evidence=Evidence.SOURCE,
    find=_SPELLING.find,
    streams=_streams,
    shapes=_shapes,
    recipe=_recipe,
    residual=_residual,
    roles=("bias_res", "alpha_res"),
    dynamic_roles=("proj_res", "proj_merged", "rms_norm"),
    words=("proj_res", "bias_res", "alpha_res"),
    gates=(SeparateGates("bias_res"),),
    module_paths=("layers.0.mhc_attn.", "layers.0.mhc_ffn."),
)
