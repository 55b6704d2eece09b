"""DeepSeek-V4 and GLM-5.3-Flash: `fn`, `base` and `scale` per site, softmax Sinkhorn, applied transposed.

Per site x is flattened to n*C numbers and RMS-normalised without weight; `fn @ x` gives n pre, n post and n*n
residual entries, row by row. The comb matrix that Sinkhorn makes of the last block is applied as x_new = comb^T x:
its rows are source streams, and since columns are normalised last, the rows of H_res are exact and the backward gain
carries the error.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Any

import torch

from mhcdiag.errors import LayoutError
from mhcdiag.layouts import config as configuration
from mhcdiag.layouts.checks import (
    describe_nonfinite,
    read_float,
    refuse_settings,
    require_layers,
    require_shape,
)
from mhcdiag.layouts.interface import Reading, Recognition, Settings, Site
from mhcdiag.mappings.constraints import SoftmaxSinkhorn
from mhcdiag.mappings.inputs import InputNorm, logit_factor
from mhcdiag.mappings.interface import Orientation, Stack
from mhcdiag.mappings.parametric import Activation, ParametricStack, Recipe
from mhcdiag.namedtensors import NamedTensors

_SITE = re.compile(
    r"^(?P<prefix>(?:.*\.)?)layers\.(?P<layer>\d+)\."
    r"(?:hc_(?P<kind>attn|ffn)_(?P<role>fn|base|scale)|(?P<kind2>attn|ffn)_hc\.(?P<role2>fn|base|scale))(?:\.weight)?$"
)
_HEAD = re.compile(r"(?:^|\.)hc_head[_.]")

NO_LAYER_COUNT = "the last layer found is the last layer (no num_hidden_layers in a config.json)"
DEFAULT_ITERATIONS = 20
DEFAULT_EPS = 1e-6


@dataclass(frozen=True, slots=True, order=True)
class _Place:
    """A site of a transformer block; sorts by depth, since "attn" comes before "ffn"."""

    layer: int
    kind: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DeepSeekV4:
    """One of the families that share these tensors and this mathematics."""

    name: str
    source: str
    model_types: tuple[str, ...]
    """Values of `model_type` in config.json for which the orientation is known."""
    bare_prefix: str
    """What stands before `layers.N` where no config.json tells the family; "" takes whatever no other family claims."""
    norm_eps: float
    """eps of the input norm where config.json does not say."""

    def recognise(self, checkpoint: NamedTensors, mixers: Sequence[str]) -> Recognition | None:
        """See `Layout`; layers from `num_hidden_layers` on are MTP layers, and output heads are no sites."""
        trunks: dict[str, dict[_Place, dict[str, str]]] = {}
        excluded: list[str] = []
        for name in mixers:
            match = _SITE.match(name)
            if match is None or "mtp." in match["prefix"]:
                if match is not None or _HEAD.search(name) or "mtp." in name:
                    excluded.append(name)
                continue
            place = _Place(int(match["layer"]), match["kind"] or match["kind2"])
            roles = trunks.setdefault(match["prefix"], {}).setdefault(place, {})
            roles[match["role"] or match["role2"]] = name
        if not trunks or _is_without_mixing(checkpoint, trunks) or not self._is_mine(checkpoint, trunks):
            return None
        places = _only_trunk(checkpoint, trunks)
        layers = configuration.integer(checkpoint, self._config(checkpoint), "num_hidden_layers", "n_layers")
        if layers is not None:
            beyond = [place for place in places if place.layer >= layers]
            excluded += [name for place in beyond for name in places.pop(place).values()]
        return Recognition(
            model=_model_type(checkpoint),
            sites=_complete_sites(checkpoint, places, layers),
            excluded=tuple(sorted(excluded)),
            assumed=() if layers is not None else (NO_LAYER_COUNT,),
        )

    def read(self, checkpoint: NamedTensors, recognition: Recognition, settings: Settings, *, dynamic: bool) -> Reading:
        """See `Layout`."""
        refuse_settings(settings, self.name, "tanh")
        assumed: list[str] = []
        recipe = self._recipe(checkpoint, settings, assumed)
        streams = _check_shapes(checkpoint, recognition.sites, self._config(checkpoint))
        rows, scales, factors, nonfinite = [], [], [], []
        for site in recognition.sites:
            roles = ("base", "scale", "fn") if dynamic else ("base", "scale")
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
        return Reading(parameters=parameters, assumed=tuple(assumed), nonfinite=tuple(nonfinite))

    def _config(self, checkpoint: NamedTensors) -> Mapping[str, Any]:
        return configuration.section(checkpoint, "text_config")

    def _is_mine(self, checkpoint: NamedTensors, trunks: Mapping[str, object]) -> bool:
        model_type = _model_type(checkpoint)
        if model_type in {known for family in FAMILIES for known in family.model_types}:
            return model_type in self.model_types
        claimed = next((f for f in FAMILIES if f.bare_prefix and f.bare_prefix in trunks), None)
        return self is claimed if claimed is not None else not self.bare_prefix

    def _recipe(self, checkpoint: NamedTensors, settings: Settings, assumed: list[str]) -> Recipe:
        config = self._config(checkpoint)
        iterations = settings.sinkhorn_iters or configuration.integer(checkpoint, config, "hc_sinkhorn_iters")
        if iterations is None:
            iterations = DEFAULT_ITERATIONS
            assumed.append(f"Sinkhorn iterations: {iterations} (not in config.json; --sinkhorn-iters)")
        eps = settings.sinkhorn_eps
        eps = configuration.positive(checkpoint, config, "hc_eps") if eps is None else eps
        if eps is None:
            eps = DEFAULT_EPS
            assumed.append(f"Sinkhorn eps: {eps:g} (not in config.json; --sinkhorn-eps)")
        norm_eps = configuration.positive(checkpoint, config, "rms_norm_eps", "norm_eps")
        if norm_eps is None:
            norm_eps = self.norm_eps
            assumed.append(f"eps of the input norm: {norm_eps:g} (not in config.json)")
        orientation = settings.orientation
        if orientation is None:
            orientation = Orientation.SOURCE_ROWS
            if _model_type(checkpoint) not in self.model_types:
                assumed.append("orientation: comb is applied transposed, as DeepSeek's own code does (--orientation)")
        return Recipe(
            norm=InputNorm(per_stream=False, eps=norm_eps),
            activation=Activation.NONE,
            constraint=SoftmaxSinkhorn(iterations=iterations, eps=eps),
            orientation=orientation,
        )


DEEPSEEK_V4 = DeepSeekV4(
    name="deepseek-v4",
    source="deepseek-ai/DeepSeek-V4-Flash inference/model.py and kernel.py; transformers deepseek_v4",
    model_types=("deepseek_v4", "deepseek_v41", "deepseek_v41_text"),
    bare_prefix="",
    norm_eps=1e-6,
)
GLM5_NEXT = DeepSeekV4(
    name="glm5-next",
    source="transformers glm5_next (zai-org/GLM-5.3-Flash)",
    model_types=("glm5_next", "glm5_next_text"),
    bare_prefix="model.language_model.",
    norm_eps=1e-5,
)
FAMILIES = (DEEPSEEK_V4, GLM5_NEXT)


def _model_type(checkpoint: NamedTensors) -> str:
    return str((checkpoint.config or {}).get("model_type", ""))


def _is_without_mixing(checkpoint: NamedTensors, trunks: Mapping[str, Mapping[_Place, Mapping[str, str]]]) -> bool:
    """Whether these are Hy-V4's tensors: the same names, but two scales (pre, post) and no residual block."""
    roles = next(iter(next(iter(trunks.values())).values()))
    return "scale" in roles and checkpoint.tensors[roles["scale"]].shape == (2,)


def _only_trunk(
    checkpoint: NamedTensors, trunks: dict[str, dict[_Place, dict[str, str]]]
) -> dict[_Place, dict[str, str]]:
    if len(trunks) > 1:
        names = ", ".join(f"{prefix}layers" for prefix in sorted(trunks))
        raise LayoutError(
            checkpoint.path, found=f"several stacks of mixing sites: {names}", expected="one stack of layers"
        )
    return next(iter(trunks.values()))


def _complete_sites(
    checkpoint: NamedTensors, places: Mapping[_Place, Mapping[str, str]], layers: int | None
) -> tuple[Site, ...]:
    for kind in ("attn", "ffn"):
        found = [place.layer for place in places if place.kind == kind]
        last = max((place.layer for place in places), default=-1) + 1 if layers is None else layers
        require_layers(checkpoint, found, count=last, what=f"hc_{kind} tensors")
    for place, tensors in places.items():
        missing = [role for role in ("fn", "base", "scale") if role not in tensors]
        if missing:
            present = next(iter(tensors.values()))
            raise LayoutError(
                checkpoint.path,
                found=f"layer {place.layer} has {present} but no {missing[0]} beside it",
                expected="fn, base and scale for every site",
                hint="is a shard missing?",
            )
    return tuple(
        Site(name=f"{place.layer}.{place.kind}", tensors=places[place], depth=depth)
        for depth, place in enumerate(sorted(places))
    )


def _check_shapes(checkpoint: NamedTensors, sites: tuple[Site, ...], config: Mapping[str, Any]) -> int:
    """Check every site's shapes against the number of streams, and return that number."""
    streams = configuration.integer(checkpoint, config, "hc_mult")
    first = checkpoint.tensors[sites[0].tensors["base"]].shape
    if streams is None:
        streams = isqrt(first[0] + 1) - 1 if len(first) == 1 else 0  # rows = n^2 + 2n
    rows = streams * (streams + 2)
    width = configuration.integer(checkpoint, config, "hidden_size", "dim")
    meaning = f"n * (n + 2) for n = {streams} streams"
    for site in sites:
        require_shape(checkpoint, site.tensors["base"], (rows,), meaning=meaning)
        require_shape(checkpoint, site.tensors["scale"], (3,), meaning="pre, post, res")
        found = checkpoint.tensors[site.tensors["fn"]].shape
        columns = streams * width if width else streams * (found[-1] // streams) if found and streams else -1
        require_shape(checkpoint, site.tensors["fn"], (rows, columns), meaning=f"{meaning}, n * hidden size")
    return streams
