"""openPangu-2.0: DeepSeek-V4's mathematics under names of its own, with a weighted input norm."""

import re
from collections.abc import Mapping

from torch import Tensor

from mhcdiag.layouts import checks, stored_parts
from mhcdiag.layouts.interface import Overrides, Recognition, Site
from mhcdiag.layouts.parametric_layout import INPUTS, ParametricLayout, ResidualPart
from mhcdiag.layouts.spellings import BlockSpelling
from mhcdiag.layouts.stored_parts import FusedGates
from mhcdiag.mappings.constraints import SoftmaxSinkhorn
from mhcdiag.mappings.inputs import InputNorm
from mhcdiag.mappings.interface import Orientation
from mhcdiag.mappings.parametric import Activation, Recipe
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.results.inspection import Evidence

_SPELLING = BlockSpelling(
    patterns=(
        re.compile(
            r"^(?P<prefix>(?:.*\.)?)layers\.(?P<layer>\d+)\.(?P<kind>attn|mlp)_mhc_module\."
            r"(?P<role>phi|branch_alpha|branch_beta|norm_gamma)(?:\.weight)?$"
        ),
    ),
    excluded=re.compile(r"(?:^|\.)merge_mhc_module\."),
    required=("phi", "branch_alpha", "branch_beta"),
)
POST_NORM = (
    "block_post_layernorm normalises all streams after some blocks: the product of H_res leaves that out, so it is not "
    "the whole linear transport"
)


def _streams(checkpoint: NamedTensors, site: Site) -> int:
    return stored_parts.streams_of_fused(checkpoint, site, "branch_beta")


def _shapes(streams: int) -> Mapping[str, tuple[int, ...]]:
    rows = streams * (streams + 2)
    return {"branch_beta": (rows,), "branch_alpha": (3,), "phi": (rows, INPUTS), "norm_gamma": (INPUTS,)}


def _recipe(checkpoint: NamedTensors, _: Recognition, overrides: Overrides, assumed: list[str]) -> Recipe:
    return Recipe(
        # Its loaders disagree on this eps: omni-npu takes rms_norm_eps for sites and 1e-6 for the merge, exllamav3 the
        # reverse. Against the mean square of an input neither shows.
        norm=InputNorm(per_stream=False, eps=1e-6),
        activation=Activation.NONE,
        constraint=SoftmaxSinkhorn(
            iterations=checks.iterations(checkpoint, overrides, assumed, "mhc_recur_norm"),
            eps=checks.sinkhorn_eps(checkpoint, overrides, assumed, default=1e-6),
        ),
        orientation=overrides.orientation or Orientation.SOURCE_ROWS,
    )


def _residual(values: Mapping[str, Tensor], streams: int) -> ResidualPart:
    return ResidualPart(
        base=stored_parts.residual_block(values["branch_beta"], streams),
        scale=values["branch_alpha"][2],
        projection=stored_parts.residual_columns(values, "phi", streams, weight=values.get("norm_gamma")),
    )


def _notes(checkpoint: NamedTensors) -> tuple[str, ...]:
    listed = (checkpoint.config or {}).get("block_post_layernorm_idx")
    return (POST_NORM,) if listed or any("block_post_layernorm" in name for name in checkpoint.tensors) else ()


OPENPANGU = ParametricLayout(
    name="openpangu",
    source="openPangu-2.0 loaders (omni-npu, exllamav3, ik_llama.cpp): sum of h_res[i, j] x[i] over i",
    tensors="`model.layers.N.attn_mhc_module.{phi.weight,branch_alpha,branch_beta,norm_gamma}`, `mlp_mhc_module.*`",
    mixing="as `deepseek-v4`, with a weighted input norm",
    evidence=Evidence.SOURCE,
    find=_SPELLING.find,
    streams=_streams,
    shapes=_shapes,
    recipe=_recipe,
    residual=_residual,
    roles=("branch_beta", "branch_alpha"),
    dynamic_roles=("phi", "norm_gamma"),
    notes=_notes,
    starts_equal=True,
    words=("branch_alpha", "branch_beta"),
    gates=(FusedGates("branch_beta"),),
    module_paths=("layers.0.attn_mhc_module.", "layers.0.mlp_mhc_module."),
)
