"""DeepSeek-V4 and its kin: `fn`, `base` and `scale` per site, softmax Sinkhorn.

Per site x is flattened to n*C numbers and RMS-normalised without weight; `fn @ x` gives n pre, n post and n*n
residual entries, row by row. The comb matrix that Sinkhorn makes of the last block is applied as x_new = comb^T x
(DeepSeek-V4, V4.1, GLM-5.3-Flash): its rows are source streams, and since columns are normalised last, the rows of
H_res are exact and the backward gain carries the error. nanowhale has the same names and the same Sinkhorn, but was
trained with x_new = comb x; only the spelling of its head is different.

llama.cpp's conversion keeps mathematics and slices under names of its own. It writes openPangu under the same names,
the weight of openPangu's norm folded into `fn`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt
from typing import Any

import torch
from torch import Tensor

from mhcdiag.errors import LayoutError
from mhcdiag.layouts import checks
from mhcdiag.layouts.checks import describe_nonfinite, model_type, read_float, refuse_overrides, require_shape
from mhcdiag.layouts.interface import MixerNames, Overrides, Recognition, Site, StoredGates
from mhcdiag.layouts.parametric_layout import INPUTS, ParametricLayout, ResidualPart
from mhcdiag.layouts.readings import ParametricReading, Reading
from mhcdiag.layouts.spellings import Blocks, BlockSpelling, SiteIndex, group_blocks, recognise_blocks
from mhcdiag.layouts.stored_parts import FusedGates, fused_rows, residual_block, residual_columns, streams_of_fused
from mhcdiag.mappings.constraints import SoftmaxSinkhorn
from mhcdiag.mappings.inputs import InputNorm, logit_factor
from mhcdiag.mappings.interface import Orientation, Stack
from mhcdiag.mappings.parametric import Activation, ParametricStack, Recipe
from mhcdiag.namedtensors import NamedTensors, prefetch
from mhcdiag.results.inspection import Evidence

SPELLING = BlockSpelling(
    patterns=(
        re.compile(
            r"^(?P<prefix>(?:.*\.)?)layers\.(?P<layer>\d+)\.hc_(?P<kind>attn|ffn)[_.](?P<role>fn|base|scale)(?:\.weight)?$"
        ),
        re.compile(
            r"^(?P<prefix>(?:.*\.)?)layers\.(?P<layer>\d+)\.(?P<kind>attn|ffn)_hc\.(?P<role>fn|base|scale)(?:\.weight)?$"
        ),
    ),
    excluded=re.compile(r"(?:^|\.)hc_head[_.]"),
    required=("fn", "base", "scale"),
    what="hc_{kind} tensors",
)
_NANOWHALE_HEAD = "model.hc_head_fn"

DEFAULT_EPS = 1e-6
"""hc_eps of the released inference code, whose own inference/config.json leaves the key out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeepSeekV4:
    """One of the families that share these tensors and this mathematics."""

    name: str
    source: str
    tensors: str
    mixing: str
    evidence: Evidence
    model_types: tuple[str, ...]
    """Values of `model_type` in config.json for which the orientation is known."""
    bare_prefix: str
    """What stands before `layers.N` where no config.json names the family; "" takes whatever no other family claims."""
    norm_eps: float
    """eps of the input norm where config.json does not say."""
    orientation: Orientation = Orientation.SOURCE_ROWS
    notes: tuple[str, ...] = ()
    starts_equal: bool = True
    """The streams begin as copies of the embedding."""
    predicts: bool = True
    words: tuple[str, ...] = ()
    """None of its own: all names have `hc`."""
    gates: tuple[StoredGates, ...] = (FusedGates("base"),)
    module_paths: tuple[str, ...] = ("",)

    def recognise(self, checkpoint: NamedTensors, mixers: MixerNames) -> Recognition | None:
        """See `Layout`; layers from `num_hidden_layers` on are MTP layers, and output heads are no sites."""
        blocks = group_blocks(mixers, SPELLING)
        if not blocks.trunks or _is_without_mixing(checkpoint, blocks) or not self._is_mine(checkpoint, blocks):
            return None
        return recognise_blocks(checkpoint, blocks, SPELLING, model=model_type(checkpoint))

    def read(
        self, checkpoint: NamedTensors, recognition: Recognition, overrides: Overrides, *, dynamic: bool
    ) -> Reading:
        """See `Layout`."""
        refuse_overrides(overrides, self.name, "tanh")
        assumed: list[str] = []
        recipe = self._recipe(checkpoint, overrides, assumed)
        streams = _check_shapes(checkpoint, recognition.sites, self._config(checkpoint))
        rows, scales, factors, nonfinite = [], [], [], []
        roles = ("base", "scale", "fn") if dynamic else ("base", "scale")
        prefetch(checkpoint, [site.tensors[role] for site in recognition.sites for role in roles])
        for site in recognition.sites:
            values = {role: read_float(checkpoint, site.tensors[role]) for role in roles}
            broken = describe_nonfinite(site, {site.tensors[role]: value for role, value in values.items()})
            nonfinite += [] if broken is None else [broken]
            rows.append(values["base"][2 * streams :].view(streams, streams))
            scales.append(values["scale"][2])
            if dynamic:
                factors.append(logit_factor(values["fn"][2 * streams :].T))
        sites = recognition.sites
        parameters = ParametricStack(
            stack=Stack(
                sites=tuple(site.name for site in sites),
                tensors=tuple(site.tensors["base"] for site in sites),
                streams=streams,
            ),
            depths=tuple(site.depth for site in sites),
            recipe=recipe,
            base=torch.stack(rows),
            scale=torch.stack(scales),
            factors=tuple(factors) if dynamic else None,
        )
        return ParametricReading(
            parameters=parameters, assumed=tuple(assumed), notes=self.notes, nonfinite=tuple(nonfinite)
        )

    def projection_of(self, checkpoint: NamedTensors, site: Site, streams: int) -> Tensor:
        """The residual projection [n*C, n*n] of one site."""
        return read_float(checkpoint, site.tensors["fn"])[2 * streams :].T

    def _config(self, checkpoint: NamedTensors) -> Mapping[str, Any]:
        return checks.section(checkpoint, "text_config")

    def _is_mine(self, checkpoint: NamedTensors, blocks: Blocks) -> bool:
        if _is_nanowhale(checkpoint, blocks):
            return self is NANOWHALE
        found = model_type(checkpoint)
        families = [family for family in FAMILIES if family is not NANOWHALE]
        if found in {known for family in families for known in family.model_types}:
            return self is not NANOWHALE and found in self.model_types
        claimed = next((f for f in families if f.bare_prefix and f.bare_prefix in blocks.trunks), None)
        return self is (DEEPSEEK_V4 if claimed is None else claimed)

    def _recipe(self, checkpoint: NamedTensors, overrides: Overrides, assumed: list[str]) -> Recipe:
        iterations = checks.iterations(checkpoint, overrides, assumed, "hc_sinkhorn_iters")
        eps = checks.sinkhorn_eps(checkpoint, overrides, assumed, "hc_eps", default=DEFAULT_EPS)
        norm_eps = checks.positive(checkpoint, self._config(checkpoint), "rms_norm_eps", "norm_eps")
        if norm_eps is None:
            norm_eps = self.norm_eps
            assumed.append(f"eps of the input norm: {norm_eps:g} (not in config.json)")
        orientation = overrides.orientation
        if orientation is None:
            orientation = self.orientation
            if self is NANOWHALE:
                assumed.append(
                    "orientation: comb is applied as it is, as in nanowhale's code, whose tensor names these are; "
                    "DeepSeek's own code transposes it (--orientation source-rows)"
                )
            elif model_type(checkpoint) not in self.model_types:
                assumed.append("orientation: comb is applied transposed, as DeepSeek's own code does (--orientation)")
        return Recipe(
            norm=InputNorm(per_stream=False, eps=norm_eps),
            activation=Activation.NONE,
            constraint=SoftmaxSinkhorn(iterations=iterations, eps=eps),
            orientation=orientation,
        )


TENSORS = "`[model.]layers.N.hc_attn_{fn,base,scale}`, `hc_ffn_*`, or `layers.N.attn_hc.{fn,base,scale}`, `ffn_hc.*`"
DEEPSEEK_V4 = DeepSeekV4(
    name="deepseek-v4",
    source="deepseek-ai/DeepSeek-V4-Flash inference/model.py and kernel.py; transformers deepseek_v4",
    tensors=TENSORS,
    mixing="softmax Sinkhorn; comb is applied transposed",
    evidence=Evidence.PACKAGE,
    model_types=("deepseek_v4",),
    bare_prefix="",
    norm_eps=1e-6,
    module_paths=("layers.0.attn_hc.", "layers.0.ffn_hc."),
)
DEEPSEEK_V41 = DeepSeekV4(
    name="deepseek-v4.1",
    source="third-party loaders of deepseek-ai/DeepSeek-V4.1-Flash (deepseek_v41)",
    tensors="as `deepseek-v4`, without `hc_head_*`; told by `model_type`",
    mixing="as `deepseek-v4`; pre is that of the site before, which leaves H_res alone",
    evidence=Evidence.SECONDHAND,
    model_types=("deepseek_v41", "deepseek_v41_text"),
    bare_prefix="",
    norm_eps=1e-20,
    notes=(
        "each site reads the streams by the pre weights of the site before it, and Engram layers add to the streams: "
        "neither changes H_res, but a channel from one branch to another passes one site later than elsewhere",
    ),
)
GLM5_NEXT = DeepSeekV4(
    name="glm5-next",
    source="transformers glm5_next (zai-org/GLM-5.3-Flash)",
    tensors="`model.language_model.layers.N.hc_attn_*`",
    mixing="as `deepseek-v4`",
    evidence=Evidence.PACKAGE,
    model_types=("glm5_next", "glm5_next_text"),
    bare_prefix="model.language_model.",
    norm_eps=1e-5,
    module_paths=("model.language_model.layers.0.attn_hc.", "model.language_model.layers.0.ffn_hc."),
)
NANOWHALE = DeepSeekV4(
    name="nanowhale",
    source="huggingface/nanowhale, modeling_deepseek_v4.py (HuggingFaceTB/nanowhale-100m)",
    tensors="`model.layers.N.hc_attn_{fn,base,scale}` beside `model.hc_head_fn`",
    mixing="as `deepseek-v4`, but comb is not transposed",
    evidence=Evidence.SOURCE,
    model_types=(),
    bare_prefix="",
    norm_eps=1e-6,
    orientation=Orientation.TARGET_ROWS,
)
FAMILIES = (DEEPSEEK_V4, DEEPSEEK_V41, GLM5_NEXT, NANOWHALE)


def _is_nanowhale(checkpoint: NamedTensors, blocks: Blocks) -> bool:
    """Whether this is a model of nanowhale's own code, which says `deepseek_v4` in its config.json.

    It puts DeepSeek's own names, head included, under the prefix `model.`. The release has no prefix, and transformers
    makes the head a module (`model.hc_head.hc_fn`). Without a head, the sizes of the published model decide.
    """
    if set(blocks.trunks) != {"model."} or model_type(checkpoint) not in ("", "deepseek_v4"):
        return False
    if any("_hc." in name for roles in blocks.trunks["model."].values() for name in roles.values()):
        return False
    if _NANOWHALE_HEAD in checkpoint.tensors:
        return True
    config = checkpoint.config or {}
    published = {"hidden_size": 320, "num_hidden_layers": 8, "hc_sinkhorn_iters": 2}
    return all(config.get(key) == value for key, value in published.items())


def _is_without_mixing(checkpoint: NamedTensors, blocks: Blocks) -> bool:
    """Whether these are Hy-V4's tensors: the same names, but two scales (pre, post) and no residual block."""
    sites: Mapping[SiteIndex, Mapping[str, str]] = next(iter(blocks.trunks.values()))
    roles = next(iter(sites.values()))
    return "scale" in roles and checkpoint.tensors[roles["scale"]].shape == (2,)


def _check_shapes(checkpoint: NamedTensors, sites: tuple[Site, ...], config: Mapping[str, Any]) -> int:
    """Check every site's shapes against the number of streams, and return that number."""
    streams = checks.integer(checkpoint, config, "hc_mult")
    first = checkpoint.tensors[sites[0].tensors["base"]].shape
    if streams is None:
        streams = isqrt(first[0] + 1) - 1 if len(first) == 1 else 0  # rows = n^2 + 2n
    rows = fused_rows(streams)
    # `dim` is the spelling of inference/config.json, beside the released weights.
    width = checks.integer(checkpoint, config, "hidden_size", "dim")
    meaning = f"n * (n + 2) for n = {streams} streams"
    for site in sites:
        require_shape(checkpoint, site.tensors["base"], (rows,), meaning=meaning)
        # Three factors, in spite of the name: converters that take `.scale` for a quantisation scale break these files.
        require_shape(checkpoint, site.tensors["scale"], (3,), meaning="pre, post, res")
        found = checkpoint.tensors[site.tensors["fn"]].shape
        columns = streams * width if width else streams * (found[-1] // streams) if found and streams else -1
        require_shape(checkpoint, site.tensors["fn"], (rows, columns), meaning=f"{meaning}, n * hidden size")
    return streams


_GGUF_SPELLING = BlockSpelling(
    patterns=(re.compile(r"^(?P<prefix>)blk\.(?P<layer>\d+)\.hc_(?P<kind>attn|ffn)_(?P<role>fn|base|scale)\.weight$"),),
    excluded=re.compile(r"^output_hc_"),
    required=("fn", "base", "scale"),
)
ARCHITECTURES = re.compile(r"deepseek4|deepseek[_-]?v4|glm5|openpangu|pangu", re.IGNORECASE)
"""Architectures whose GGUF files have these names and this mathematics."""
ITERATIONS, EPS = "hyper_connection.sinkhorn_iterations", "hyper_connection.epsilon"


def _known_architecture(checkpoint: NamedTensors, found: Recognition) -> Recognition:
    architecture = str((checkpoint.config or {}).get("general.architecture", ""))
    if architecture and not ARCHITECTURES.search(architecture):
        raise LayoutError(
            checkpoint.path,
            found=f"a GGUF file of architecture {architecture!r} with DeepSeek-V4's tensor names",
            expected="deepseek4, glm5 or openpangu",
            hint="what its mixers compute is not known; nothing was measured",
        )
    return found


def _gguf_streams(checkpoint: NamedTensors, site: Site) -> int:
    return streams_of_fused(checkpoint, site, "base")


def _gguf_shapes(streams: int) -> Mapping[str, tuple[int, ...]]:
    rows = streams * (streams + 2)
    return {"base": (rows,), "scale": (3,), "fn": (rows, INPUTS)}


def _gguf_recipe(checkpoint: NamedTensors, _: Recognition, overrides: Overrides, assumed: list[str]) -> Recipe:
    return Recipe(
        norm=InputNorm(per_stream=False, eps=1e-6),
        activation=Activation.NONE,
        constraint=SoftmaxSinkhorn(
            iterations=checks.iterations(checkpoint, overrides, assumed, ITERATIONS),
            eps=checks.sinkhorn_eps(checkpoint, overrides, assumed, EPS, default=1e-6),
        ),
        orientation=overrides.orientation or Orientation.SOURCE_ROWS,
    )


def _gguf_residual(values: Mapping[str, Tensor], streams: int) -> ResidualPart:
    return ResidualPart(
        base=residual_block(values["base"], streams),
        scale=values["scale"][2],
        projection=residual_columns(values, "fn", streams),
    )


GGUF_V4 = ParametricLayout(
    name="deepseek-v4-gguf",
    source="llama.cpp's conversion of DeepSeek-V4 and openPangu: fn times norm_gamma, row by row",
    tensors="`blk.N.hc_attn_{fn,base,scale}.weight`, `hc_ffn_*`",
    mixing="as `deepseek-v4`; a weighted norm is folded into `fn`",
    evidence=Evidence.SOURCE,
    find=_GGUF_SPELLING.find,
    accept=_known_architecture,
    streams=_gguf_streams,
    shapes=_gguf_shapes,
    recipe=_gguf_recipe,
    residual=_gguf_residual,
    roles=("base", "scale"),
    dynamic_roles=("fn",),
    starts_equal=True,
    gates=(FusedGates("base"),),
)
