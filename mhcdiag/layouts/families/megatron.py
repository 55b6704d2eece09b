"""Megatron-LM's hyper-connections: one set of names, two mathematics, and nothing in the tensors that tells which.

The released `main` (until August 2026) takes exp, normalises rows then columns and applies h_res as it is. The `dev`
branch, where DeepSeek-V4 is trained, takes a row softmax with eps as DeepSeek does and applies h_res transposed. The
names of the configuration changed with the version, so they are the evidence where a configuration is there (Megatron
saves its arguments with the weights); else the released one is assumed, aloud. `--orientation` overrules both, and
chooses the mathematics with it.
"""

import re
from collections.abc import Mapping

from torch import Tensor

from mhcdiag.layouts import checks, stored_parts
from mhcdiag.layouts.interface import Overrides, Recognition, Site
from mhcdiag.layouts.parametric_layout import INPUTS, ParametricLayout, ResidualPart
from mhcdiag.layouts.spellings import BlockSpelling
from mhcdiag.layouts.stored_parts import FusedGates
from mhcdiag.mappings.constraints import ROWS, ExpSinkhorn, Guard, SoftmaxSinkhorn
from mhcdiag.mappings.inputs import InputNorm
from mhcdiag.mappings.interface import Constraint, Orientation
from mhcdiag.mappings.parametric import Activation, Recipe
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.results.inspection import Evidence

_ROLES = r"(?P<role>mapping_proj|bias|alpha_res|alpha_pre|alpha_post|norm)(?:\.weight)?$"
_LAYERS = r"^(?P<prefix>(?:.*\.)?)layers\.(?P<layer>\d+)\."
_MEGATRON = BlockSpelling(
    patterns=(re.compile(rf"{_LAYERS}(?P<kind>self_attention|mlp)_hyper_connection\.{_ROLES}"),),
    excluded=re.compile(r"(?:^|\.)hc_head[_.]"),
    required=("mapping_proj", "bias", "alpha_res"),
)
_BRIDGE = BlockSpelling(
    patterns=(re.compile(rf"{_LAYERS}hc_(?P<kind>attn|ffn)\.{_ROLES}"),),
    excluded=re.compile(r"(?:^|\.)hc_head[_.]"),
    required=("mapping_proj", "bias", "alpha_res"),
)
ITERATION_KEYS = ("mhc_sinkhorn_iterations", "hc_sinkhorn_iters")
DEV_KEYS = ("enable_mhc_connections", "mhc_num_residual_streams", "use_fused_mhc", "mhc_recompute_layer_num")
MAIN_KEYS = ("enable_hyper_connections", "num_residual_streams")


def _streams(checkpoint: NamedTensors, site: Site) -> int:
    return stored_parts.streams_of_fused(checkpoint, site, "bias")


def _shapes(streams: int) -> Mapping[str, tuple[int, ...]]:
    rows = streams * (streams + 2)
    return {"bias": (rows,), "alpha_res": (1,), "mapping_proj": (rows, INPUTS), "norm": (INPUTS,)}


def _recipe(checkpoint: NamedTensors, recognition: Recognition, overrides: Overrides, assumed: list[str]) -> Recipe:
    orientation = overrides.orientation or _assumed_orientation(checkpoint, recognition, assumed)
    iterations = checks.iterations(checkpoint, overrides, assumed, *ITERATION_KEYS)
    eps = checks.sinkhorn_eps(checkpoint, overrides, assumed, default=1e-6)
    constraint: Constraint = SoftmaxSinkhorn(iterations=iterations, eps=eps)
    if orientation is Orientation.TARGET_ROWS:
        constraint = ExpSinkhorn(iterations=iterations, eps=eps, first=ROWS, guard=Guard.FLOOR, shift=(ROWS,))
    return Recipe(
        norm=InputNorm(per_stream=False, eps=1e-6),
        activation=Activation.NONE,
        constraint=constraint,
        orientation=orientation,
    )


def _assumed_orientation(checkpoint: NamedTensors, recognition: Recognition, assumed: list[str]) -> Orientation:
    config = checkpoint.config or {}
    newer = next((key for key in DEV_KEYS if key in config), None)
    older = next((key for key in MAIN_KEYS if key in config), None)
    head = next((name for name in recognition.excluded if "hc_head" in name), None)
    cannot_know = (
        "orientation and Sinkhorn variant cannot be known from Megatron's tensors; say --orientation. Assumed: "
    )
    if newer is not None or head is not None:
        why = f"the configuration has {newer}" if newer is not None else f"there is {head}"
        assumed.append(f"{cannot_know}source-rows with softmax, as the dev branch has it, since {why}")
        return Orientation.SOURCE_ROWS
    why = f"the configuration has {older}" if older is not None else "no configuration says otherwise"
    assumed.append(f"{cannot_know}target-rows with exp, as the released main branch has it, since {why}")
    return Orientation.TARGET_ROWS


def _bridge_recipe(checkpoint: NamedTensors, _: Recognition, overrides: Overrides, assumed: list[str]) -> Recipe:
    return Recipe(
        norm=InputNorm(per_stream=False, eps=1e-6),
        activation=Activation.NONE,
        constraint=SoftmaxSinkhorn(
            iterations=checks.iterations(checkpoint, overrides, assumed, *ITERATION_KEYS),
            eps=checks.sinkhorn_eps(checkpoint, overrides, assumed, "hc_eps", default=1e-6),
        ),
        orientation=overrides.orientation or Orientation.SOURCE_ROWS,
    )


def _residual(values: Mapping[str, Tensor], streams: int) -> ResidualPart:
    return ResidualPart(
        base=stored_parts.residual_block(values["bias"], streams),
        scale=values["alpha_res"],
        projection=stored_parts.residual_columns(values, "mapping_proj", streams, weight=values.get("norm")),
    )


MEGATRON = ParametricLayout(
    name="megatron",
    source="Megatron-LM HyperConnectionModule: main at d98e8a64 (h_res @ x), dev and #4624 (h_res^T @ x)",
    tensors="`layers.N.self_attention_hyper_connection.{mapping_proj.weight,bias,alpha_res}`, `mlp_hyper_connection.*`",
    mixing="by version: exp Sinkhorn as stored, or softmax Sinkhorn transposed; cannot be known, so `--orientation`",
    evidence=Evidence.SOURCE,
    find=_MEGATRON.find,
    streams=_streams,
    shapes=_shapes,
    recipe=_recipe,
    residual=_residual,
    roles=("bias", "alpha_res"),
    dynamic_roles=("mapping_proj", "norm"),
    words=("mapping_proj", "alpha_res"),
    gates=(FusedGates("bias"),),
    module_paths=("layers.0.self_attention_hyper_connection.", "layers.0.mlp_hyper_connection."),
)
MEGATRON_BRIDGE = ParametricLayout(
    name="megatron-bridge",
    source="Megatron-Bridge's DeepSeek-V4 conversion: hc_attn_fn becomes mapping_proj.weight row by row",
    tensors="`decoder.layers.N.hc_attn.{mapping_proj.weight,bias,alpha_res}`, `hc_ffn.*`",
    mixing="as `deepseek-v4`",
    evidence=Evidence.SECONDHAND,
    find=_BRIDGE.find,
    streams=_streams,
    shapes=_shapes,
    recipe=_bridge_recipe,
    residual=_residual,
    roles=("bias", "alpha_res"),
    dynamic_roles=("mapping_proj", "norm"),
    words=("mapping_proj", "alpha_res"),
    gates=(FusedGates("bias"),),
    module_paths=("layers.0.hc_attn.", "layers.0.hc_ffn."),
)
