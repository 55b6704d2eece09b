"""MAGI-2: an input-major fused projection, one input norm for both sites of a layer, the paper's order of Sinkhorn."""

import re
from collections.abc import Mapping
from dataclasses import replace
from math import sqrt

from torch import Tensor

from mhcdiag.layouts import checks, stored_parts
from mhcdiag.layouts.interface import Overrides, Recognition, Site
from mhcdiag.layouts.parametric_layout import ANY, INPUTS, ParametricLayout, ResidualPart
from mhcdiag.layouts.spellings import BlockSpelling
from mhcdiag.layouts.stored_parts import SeparateGates
from mhcdiag.mappings.constraints import COLUMNS, ROWS, ExpSinkhorn, Guard
from mhcdiag.mappings.inputs import InputNorm
from mhcdiag.mappings.interface import Orientation
from mhcdiag.mappings.parametric import Activation, Recipe
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.results.inspection import Evidence

_SPELLING = BlockSpelling(
    patterns=(
        re.compile(
            r"^(?P<prefix>(?:.*\.)?)layers\.(?P<layer>\d+)\.mhc_(?P<role>phi_fused|alpha_res|alpha_pre|alpha_post|"
            r"bias_res|bias_pre|bias_post)_(?P<kind>attn|mlp)$"
        ),
    ),
    excluded=re.compile(r"$^"),
    required=("phi_fused", "alpha_res", "bias_res"),
)


def _with_norms(checkpoint: NamedTensors, found: Recognition) -> Recognition:
    return replace(found, sites=tuple(_with_norm(checkpoint, site) for site in found.sites))


def _with_norm(checkpoint: NamedTensors, site: Site) -> Site:
    norm = site.tensors["bias_res"].rpartition(".mhc_")[0] + ".mhc_norm.weight"
    return replace(site, tensors={**site.tensors, "norm": norm}) if norm in checkpoint.tensors else site


def _streams(checkpoint: NamedTensors, site: Site) -> int:
    return stored_parts.streams_of_square(checkpoint, site, "bias_res")


def _shapes(streams: int) -> Mapping[str, tuple[int, ...]]:
    return {
        "bias_res": (streams, streams),
        "alpha_res": (1,),
        "phi_fused": (INPUTS, streams * (streams + 2)),
        "norm": (ANY,),
    }


def _recipe(checkpoint: NamedTensors, recognition: Recognition, overrides: Overrides, assumed: list[str]) -> Recipe:
    tensors = recognition.sites[0].tensors
    if (
        "norm" in tensors
        and checkpoint.tensors[tensors["norm"]].shape != checkpoint.tensors[tensors["phi_fused"]].shape[:1]
    ):
        assumed.append("input norm: the weight of the first modality (the checkpoint holds one per modality)")
    return Recipe(
        norm=InputNorm(per_stream=False, eps=1e-6),
        activation=Activation.NONE,
        constraint=ExpSinkhorn(
            iterations=overrides.sinkhorn_iters or 20,  # a constant of its code
            eps=checks.sinkhorn_eps(checkpoint, overrides, assumed, default=1e-12),
            first=COLUMNS,
            guard=Guard.ADDED,
            shift=(ROWS, COLUMNS),
        ),
        orientation=overrides.orientation or Orientation.TARGET_ROWS,
    )


def _residual(values: Mapping[str, Tensor], streams: int) -> ResidualPart:
    # One norm holds the weights of three modalities in turn; gains are those of the first. Its code adds 1.
    weight = values["norm"][: values["phi_fused"].shape[0]] + 1 if "norm" in values else None
    projection = stored_parts.residual_columns(values, "phi_fused", streams, input_major=True, weight=weight)
    # Its code divides the projected input by sqrt(n C), beside alpha.
    scaled = None if projection is None else projection / sqrt(projection.shape[0])
    return ResidualPart(base=values["bias_res"], scale=values["alpha_res"], projection=scaled)


MAGI = ParametricLayout(
    name="magi-2",
    source="sand-ai/MAGI-2-preview model code: einsum('tij,tjc->tic', h_res, x), logits over sqrt(nC)",
    tensors="`block.layers.N.mhc_{phi_fused,alpha_res,bias_res}_attn`, `*_mlp`, `mhc_norm.weight`",
    mixing="exp Sinkhorn, columns then rows, as arXiv 2512.24880 has it; applied as stored",
    evidence=Evidence.SOURCE,
    find=_SPELLING.find,
    accept=_with_norms,
    streams=_streams,
    shapes=_shapes,
    recipe=_recipe,
    residual=_residual,
    roles=("bias_res", "alpha_res"),
    dynamic_roles=("phi_fused", "norm"),
    words=("bias_res", "alpha_res"),
    gates=(SeparateGates("bias_res"),),
)
