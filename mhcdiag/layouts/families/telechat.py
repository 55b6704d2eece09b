"""TeleChat: DeepSeek's module names with other parameters, clamped logits, exp Sinkhorn, applied as stored."""

import re
from collections.abc import Mapping

from torch import Tensor

from mhcdiag.layouts import checks, stored_parts
from mhcdiag.layouts.interface import Overrides, Recognition, Site
from mhcdiag.layouts.parametric_layout import INPUTS, ParametricLayout, ResidualPart
from mhcdiag.layouts.spellings import BlockSpelling
from mhcdiag.layouts.stored_parts import FusedGates, SeparateGates
from mhcdiag.mappings.constraints import ROWS, ExpSinkhorn, Guard
from mhcdiag.mappings.inputs import InputNorm
from mhcdiag.mappings.interface import Orientation
from mhcdiag.mappings.parametric import Activation, Recipe
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.results.inspection import Evidence

_SPELLING = BlockSpelling(
    patterns=(
        re.compile(
            r"^(?P<prefix>(?:.*\.)?)layers\.(?P<layer>\d+)\.(?P<kind>attn|ffn)_hc\."
            r"(?P<role>mapping_weight|mapping_proj|bias_res|bias_pre|bias_post|bias|alpha_res|alpha_pre|alpha_post)"
            r"(?:\.weight)?$"
        ),
    ),
    excluded=re.compile(r"$^"),
    required=("alpha_res",),
)


def _with_bias(_: NamedTensors, found: Recognition) -> Recognition | None:
    # transformers names DeepSeek-V4's modules attn_hc, too: the parameters inside are what differs.
    return found if {"bias", "bias_res"} & set(found.sites[0].tensors) else None


def _streams(checkpoint: NamedTensors, site: Site) -> int:
    if "bias_res" in site.tensors:
        return stored_parts.streams_of_square(checkpoint, site, "bias_res")
    return stored_parts.streams_of_fused(checkpoint, site, "bias")


def _shapes(streams: int) -> Mapping[str, tuple[int, ...]]:
    rows = streams * (streams + 2)
    return {"bias": (rows,), "alpha_res": (1,), "mapping_weight": (rows, INPUTS), "mapping_proj": (rows, INPUTS)}


def _recipe(checkpoint: NamedTensors, _: Recognition, overrides: Overrides, assumed: list[str]) -> Recipe:
    config = checks.section(checkpoint, "text_config")
    return Recipe(
        norm=InputNorm(per_stream=False, eps=1e-6),
        activation=Activation.NONE,
        constraint=ExpSinkhorn(
            iterations=checks.iterations(checkpoint, overrides, assumed, "mhc_sinkhorn_iterations"),
            eps=checks.sinkhorn_eps(checkpoint, overrides, assumed, default=1e-6),
            first=ROWS,
            guard=Guard.ADDED,
            shift=(ROWS,),
            limit=checks.positive(checkpoint, config, "mhc_h_res_clamp_max") or 30.0,
        ),
        orientation=overrides.orientation or Orientation.TARGET_ROWS,
    )


def _residual(values: Mapping[str, Tensor], streams: int) -> ResidualPart:
    role = "mapping_weight" if "mapping_weight" in values else "mapping_proj"
    base = values["bias_res"].view(streams, streams) if "bias_res" in values else None
    return ResidualPart(
        base=stored_parts.residual_block(values["bias"], streams) if base is None else base,
        scale=values["alpha_res"],
        projection=stored_parts.residual_columns(values, role, streams),
    )


TELECHAT = ParametricLayout(
    name="telechat",
    source="TeleChat-29B's vLLM patch: logits cut off at 30, bmm(h_res, x)",
    tensors="`layers.N.attn_hc.{mapping_weight or mapping_proj.weight,bias or bias_res,alpha_res}`, `ffn_hc.*`",
    mixing="exp Sinkhorn, rows then columns, logits cut off at +-30; applied as stored",
    evidence=Evidence.SOURCE,
    find=_SPELLING.find,
    accept=_with_bias,
    streams=_streams,
    shapes=_shapes,
    recipe=_recipe,
    residual=_residual,
    roles=("bias_res", "bias", "alpha_res"),
    dynamic_roles=("mapping_weight", "mapping_proj"),
    words=("mapping_weight", "mapping_proj", "bias_res", "alpha_res"),
    gates=(FusedGates("bias"), SeparateGates("bias_res")),
    module_paths=("layers.0.attn_hc.", "layers.0.ffn_hc."),
)
