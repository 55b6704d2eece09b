"""llama.cpp's names for DeepSeek-V4's mixers, and openPangu's under the same names with its norm weight folded in."""

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

from mhcdiag.errors import LayoutError
from mhcdiag.layouts import checks as chosen
from mhcdiag.layouts import fused
from mhcdiag.layouts.block_sites import BlockSpelling, find_blocks
from mhcdiag.layouts.interface import Recognition, Settings, Site
from mhcdiag.layouts.parametric_layout import INPUTS, ParametricLayout, ResidualPart
from mhcdiag.mappings.constraints import SoftmaxSinkhorn
from mhcdiag.mappings.inputs import InputNorm
from mhcdiag.mappings.interface import Orientation
from mhcdiag.mappings.parametric import Activation, Recipe
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.results.catalogue import Evidence

_SPELLING = BlockSpelling(
    patterns=(re.compile(r"^(?P<prefix>)blk\.(?P<layer>\d+)\.hc_(?P<kind>attn|ffn)_(?P<role>fn|base|scale)\.weight$"),),
    excluded=re.compile(r"^output_hc_"),
    required=("fn", "base", "scale"),
)
ARCHITECTURES = re.compile(r"deepseek4|deepseek[_-]?v4|glm5|openpangu|pangu", re.IGNORECASE)
"""Architectures whose GGUF files have these names and this mathematics."""
ITERATIONS, EPS = "hyper_connection.sinkhorn_iterations", "hyper_connection.epsilon"


def _find(checkpoint: NamedTensors, mixers: Sequence[str]) -> Recognition | None:
    found = find_blocks(checkpoint, mixers, _SPELLING)
    if found is None:
        return None
    architecture = str((checkpoint.config or {}).get("general.architecture", ""))
    if architecture and not ARCHITECTURES.search(architecture):
        raise LayoutError(
            checkpoint.path,
            found=f"a GGUF file of architecture {architecture!r} with DeepSeek-V4's tensor names",
            expected="deepseek4, glm5 or openpangu",
            hint="what its mixers compute is not known; nothing was measured",
        )
    return found


def _streams(checkpoint: NamedTensors, site: Site) -> int:
    return fused.streams_of_fused(checkpoint, site, "base")


def _shapes(streams: int) -> Mapping[str, tuple[int, ...]]:
    rows = streams * (streams + 2)
    return {"base": (rows,), "scale": (3,), "fn": (rows, INPUTS)}


def _recipe(checkpoint: NamedTensors, _: Recognition, settings: Settings, assumed: list[str]) -> Recipe:
    return Recipe(
        norm=InputNorm(per_stream=False, eps=1e-6),
        activation=Activation.NONE,
        constraint=SoftmaxSinkhorn(
            iterations=chosen.iterations(checkpoint, settings, assumed, ITERATIONS),
            eps=chosen.sinkhorn_eps(checkpoint, settings, assumed, EPS, default=1e-6),
        ),
        orientation=settings.orientation or Orientation.SOURCE_ROWS,
    )


def _residual(values: Mapping[str, Tensor], streams: int) -> ResidualPart:
    return ResidualPart(
        base=fused.residual_block(values["base"], streams),
        scale=values["scale"][2],
        projection=fused.residual_columns(values, "fn", streams),
    )


GGUF_V4 = ParametricLayout(
    name="deepseek-v4-gguf",
    source="llama.cpp's conversion of DeepSeek-V4 and openPangu: fn times norm_gamma, row by row",
    tensors="`blk.N.hc_attn_{fn,base,scale}.weight`, `hc_ffn_*`",
    mixing="as `deepseek-v4`; a weighted norm is folded into `fn`",
    evidence=Evidence.SOURCE,
    find=_find,
    streams=_streams,
    shapes=_shapes,
    recipe=_recipe,
    residual=_residual,
    roles=("base", "scale"),
    dynamic_roles=("fn",),
    starts_equal=True,
)
