"""Factors on the residual stream itself: x_new = s x + F(x), s one number or one for each channel.

H = diag(s), so that a composite is the product of the factors, channel by channel, and its gain the largest of these.
Whatever else stands in the checkpoint must be explained as in an ordinary model; else the product would be a guess.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from mhcdiag.errors import LayoutError
from mhcdiag.layouts import checks
from mhcdiag.layouts.checks import (
    describe_nonfinite,
    model_type,
    read_float,
    refuse_overrides,
    require_layers,
    require_shape,
)
from mhcdiag.layouts.families.cross_layer import crosses_layers
from mhcdiag.layouts.interface import MixerNames, Overrides, Recognition, Site, StoredGates
from mhcdiag.layouts.plain_names import WRAPPERS, grouped
from mhcdiag.layouts.plain_proof import unexplained_tensors
from mhcdiag.layouts.readings import DiagonalReading, Reading
from mhcdiag.layouts.spellings import LAYER_KEYS
from mhcdiag.mappings.diagonal import channel_range
from mhcdiag.mappings.interface import Stack
from mhcdiag.namedtensors import NamedTensors, prefetch
from mhcdiag.results.inspection import Evidence
from mhcdiag.results.numbers import text

KINDS = {"attn": "attn", "attention": "attn", "input": "attn", "mlp": "ffn", "ffn": "ffn", "feedforward": "ffn"}
LAYER = "layer"
"""Kind of the site of a factor that a whole block is multiplied by."""
_ONE_FOR_ALL = re.compile(r"^(?P<path>(?:.*\.)?)(?:resid|residual)_lambdas$")
_X0, _BACKOUT = "x0_lambdas", "backout_lambda"


def _as_stored(value: Tensor, config: Mapping[str, Any]) -> Tensor:
    del config
    return value.flatten()


def _first_of_two(value: Tensor, config: Mapping[str, Any]) -> Tensor:
    """modded-nanogpt's `lambdas` [2]: the first is on the stream, the second on the embedding."""
    del config
    return value.flatten()[:1]


def _muse_gate(value: Tensor, config: Mapping[str, Any]) -> Tensor:
    """sqrt(sigmoid(-w) (1 + sigmoid(w))) for w = gate / temperature, but at least sqrt(1e-3) (Muse Spark)."""
    temperature = config.get("residual_gate_temperature", 0.3)
    beta = torch.sigmoid(value.flatten() / temperature)
    return ((1 - beta) * (1 + beta)).clamp(min=1e-3).sqrt()


@dataclass(frozen=True, kw_only=True, slots=True)
class Spelling:
    """One parameter per site, at the block."""

    pattern: re.Pattern[str]
    """Matches its bare name; groups `path` (up to the number of the block), `layer`, and `kind` where there are two."""
    families: tuple[str, ...]
    """`model_type`s (or architectures of llama.cpp) whose code was read; empty where the name is said by no other."""
    beside: tuple[str, ...] = ()
    """Suffixes of parameters that belong to it and do not touch the product."""
    factor: Callable[[Tensor, Mapping[str, Any]], Tensor] = _as_stored


_AT = r"^(?P<path>(?:.*\.)?(?:layers|h|blocks|blk))\.(?P<layer>\d+)\."
SPELLINGS = (
    Spelling(
        pattern=re.compile(_AT + r"(?:layer_scalar|layer_output_scale\.weight)$"),
        families=(
            "gemma4", "gemma4_text", "gemma4_unified", "gemma4_unified_text", "embedding_gemma2",
            "embedding_gemma2_text", "diffusion_gemma", "diffusion_gemma_text",
        ),
    ),
    Spelling(
        pattern=re.compile(_AT + r"(?:(?P<kind>input)_residual|post_(?P<second>attention)_residual)$"),
        families=("doge",),
    ),
    Spelling(
        pattern=re.compile(_AT + r"post_(?P<kind>attention|feedforward)_residual_gate\.gate$"),
        families=("muse_spark", "muse_spark_text"),
        factor=_muse_gate,
    ),
    Spelling(
        pattern=re.compile(_AT + r"post_(?P<kind>attention|mlp)_residual_scale\.residual_scale$"),
        families=("zaya",),
        beside=("hidden_states_scale", "hidden_states_bias", "residual_bias"),
    ),
    Spelling(pattern=re.compile(_AT + r"gain_(?P<kind>attn|mlp)$"), families=()),
    Spelling(pattern=re.compile(_AT + r"lambdas$"), families=(), factor=_first_of_two),
    Spelling(pattern=re.compile(_AT + r"2\.residual_scale$"), families=()),
)  # fmt: skip
"""Gemma 4 (also in llama.cpp's names), Doge, Muse Spark, Zaya, DenseFormer's baseline with gains, modded-nanogpt's
blocks, x-transformers with `scale_residual`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    """The factors of a checkpoint, before anything is read."""

    sites: Mapping[tuple[int, str], str]
    """Tensor by layer and kind; the same for all sites where one holds the factors of all."""
    claimed: frozenset[str]
    """Tensors that this explains."""
    assumed: tuple[str, ...] = ()


def _find(checkpoint: NamedTensors, mixers: MixerNames) -> _Found | None:
    if crosses_layers(checkpoint):
        return None
    per_block = (_per_block(checkpoint, mixers, spelling) for spelling in SPELLINGS)
    return _one_tensor(checkpoint, mixers) or next(filter(None, per_block), None)


def _per_block(checkpoint: NamedTensors, mixers: MixerNames, spelling: Spelling) -> _Found | None:
    matches = {name: m for name in mixers.tensors if (m := spelling.pattern.match(WRAPPERS.sub("", name)))}
    if not matches:
        return None
    stacks = sorted({match["path"] for match in matches.values()})
    if len(stacks) > 1:
        raise LayoutError(
            checkpoint.path,
            found=f"factors on several residual streams: {', '.join(stacks)}",
            expected="one stack of layers",
        )
    heads = {name.rpartition(".")[0] for name in matches}
    beside = {f"{head}.{leaf}" for head in heads for leaf in spelling.beside}
    assumed: tuple[str, ...] = ()
    model = model_type(checkpoint) or str((checkpoint.config or {}).get("general.architecture", ""))
    if spelling.families and model and model not in spelling.families:
        doubt = f"{next(iter(matches))} multiplies the stream, as in {spelling.families[0]}"
        assumed = (f"{doubt} (the code of model_type {model} was not read)",)
    return _Found(
        sites={(int(match["layer"]), _kind_of(match)): name for name, match in matches.items()},
        claimed=frozenset(matches) | (beside & checkpoint.tensors.keys()),
        assumed=assumed,
    )


def _kind_of(match: re.Match[str]) -> str:
    groups = match.groupdict()
    if groups.get("second") is not None:
        return "ffn"
    return KINDS[groups["kind"]] if groups.get("kind") is not None else LAYER


def _one_tensor(checkpoint: NamedTensors, mixers: MixerNames) -> _Found | None:
    """`resid_lambdas` of nanochat [L], or [L, 2] for attention and feed-forward."""
    names = {name: m for name in mixers.tensors if (m := _ONE_FOR_ALL.match(WRAPPERS.sub("", name)))}
    if len(names) != 1:
        return None
    ((name, match),) = names.items()
    shape = checkpoint.tensors[name].shape
    if not shape or not shape[0] or shape[1:] not in ((), (1,), (2,)):
        require_shape(checkpoint, name, (-1,), meaning="one factor per layer, or [layers, 2]")
    kinds = ("attn", "ffn") if shape[1:] == (2,) else (LAYER,)
    beside = {f"{match['path']}{leaf}" for leaf in (_X0, _BACKOUT)}
    return _Found(
        sites={(layer, kind): name for layer in range(shape[0]) for kind in kinds},
        claimed=frozenset(names) | (beside & checkpoint.tensors.keys()),
    )


@dataclass(frozen=True, slots=True)
class ResidualScalars:
    """All spellings of factors on the stream."""

    name: ClassVar[str] = "residual-scalars"
    source: ClassVar[str] = (
        "transformers gemma4, doge, muse_spark, zaya, beam; nanochat, modded-nanogpt; DenseFormer base_w_gains; "
        "x-transformers Residual"
    )
    tensors: ClassVar[str] = "`resid_lambdas`, `layers.N.layer_scalar`, `input_residual`, `*_residual_gate.gate`, ..."
    mixing: ClassVar[str] = "none: H = diag(s); gain = their largest product over channels, signs aside"
    evidence: ClassVar[Evidence] = Evidence.PACKAGE
    words: ClassVar[tuple[str, ...]] = (
        "resid_lambdas", "residual_lambdas", "x0_lambdas", "backout_lambda", "layer_scalar", "layer_output_scale",
        "input_residual", "post_attention_residual", "post_attention_residual_gate", "post_feedforward_residual_gate",
        "residual_scale", "residual_bias", "gain_attn", "gain_mlp", "lambdas",
    )  # fmt: skip
    gates: ClassVar[tuple[StoredGates, ...]] = ()
    module_paths: ClassVar[tuple[str, ...]] = ("",)

    def recognise(self, checkpoint: NamedTensors, mixers: MixerNames) -> Recognition | None:
        """See `Layout`."""
        found = _find(checkpoint, mixers)
        if found is None:
            return _depth_scaled(checkpoint, mixers)
        assumed = (*found.assumed, *_left_alone(checkpoint, mixers, found))
        config = checks.section(checkpoint, "text_config")
        count = checks.integer(checkpoint, config, *LAYER_KEYS)
        for kind in sorted({kind for _, kind in found.sites}):
            numbers = [layer for layer, of_kind in found.sites if of_kind == kind]
            require_layers(checkpoint, numbers, count=count, what=f"factor on the stream ({kind})")
        return Recognition(
            model=model_type(checkpoint),
            sites=tuple(
                Site(name=f"{layer}.{kind}", tensors={"factor": found.sites[layer, kind]}, depth=depth)
                for depth, (layer, kind) in enumerate(sorted(found.sites))
            ),
            excluded=tuple(sorted(name for name in found.claimed if name not in found.sites.values())),
            assumed=assumed,
        )

    def read(
        self, checkpoint: NamedTensors, recognition: Recognition, overrides: Overrides, *, dynamic: bool
    ) -> Reading:
        """See `Layout`."""
        del dynamic
        refuse_overrides(overrides, self.name, "orientation", "sinkhorn_iters", "sinkhorn_eps", "tanh")
        prefetch(checkpoint, [*(site.tensors["factor"] for site in recognition.sites), *recognition.excluded])
        read = _read_factors(checkpoint, recognition)
        broken = [
            describe_nonfinite(site, {site.tensors["factor"]: value})
            for site, value in zip(recognition.sites, read, strict=True)
        ]
        widths = sorted({len(value) for value in read} - {1})
        if len(widths) > 1:
            raise LayoutError(
                checkpoint.path,
                found=f"factors of {' and '.join(map(str, widths))} channels",
                expected="the same width at every site",
            )
        factors = torch.stack([value.double().expand(max(widths, default=1)) for value in read])
        low, high = channel_range(factors)
        spread = f"from {text(low)} to {text(high)} by channel" if widths else text(high)
        note = f"one residual stream, multiplied by fixed factors at its sites: their product is {spread}"
        return DiagonalReading(
            stack=Stack(
                sites=tuple(site.name for site in recognition.sites),
                tensors=tuple(site.tensors["factor"] for site in recognition.sites),
                streams=1,
            ),
            factors=factors,
            blocks=_blocks(checkpoint, recognition),
            notes=(note, *_skip_notes(checkpoint, recognition, factors)),
            nonfinite=tuple(site for site in broken if site is not None),
        )


def _left_alone(checkpoint: NamedTensors, mixers: MixerNames, found: _Found) -> tuple[str, ...]:
    """Refuse what nothing explains beside the factors, unless the user says that it leaves the stream alone."""
    unknown = [info for info in unexplained_tensors(checkpoint) if info.name not in found.claimed]
    if not unknown:
        return ()
    shown = ", ".join(name for name, _ in list(grouped(unknown))[:3])
    if mixers.assume_plain:
        return (f"{shown} leave the stream alone (--assume plain)",)
    raise LayoutError(
        checkpoint.path,
        found=f"factors on the stream ({next(iter(found.sites.values()))}), and beside them {shown}",
        expected="nothing else that may touch the stream",
        hint="if these leave it alone, say --assume plain",
    )


def _read_factors(checkpoint: NamedTensors, recognition: Recognition) -> list[Tensor]:
    """Per site its factors [channel], or [1] for all channels."""
    config = checks.section(checkpoint, "text_config")
    if model_type(checkpoint) in BEAM:
        return [_depth_factor(site) for site in recognition.sites]
    first = recognition.sites[0].tensors["factor"]
    if _ONE_FOR_ALL.match(WRAPPERS.sub("", first)):
        rows = read_float(checkpoint, first)
        rows = rows.reshape(len(rows), -1)
        return [rows[int(site.name.partition(".")[0]), _column(site)].reshape(1) for site in recognition.sites]
    spelling = next(each for each in SPELLINGS if each.pattern.match(WRAPPERS.sub("", first)))
    return [spelling.factor(read_float(checkpoint, site.tensors["factor"]), config) for site in recognition.sites]


def _column(site: Site) -> int:
    return 1 if site.name.endswith(".ffn") else 0


def _blocks(checkpoint: NamedTensors, recognition: Recognition) -> tuple[str, ...]:
    """Module paths of the blocks."""
    stack = next((m["path"] for name in checkpoint.tensors if (m := re.match(_AT, name)) is not None), "")
    layers = dict.fromkeys(site.name.partition(".")[0] for site in recognition.sites)
    return tuple(f"{stack}.{layer}" for layer in layers) if stack else ()


def _skip_notes(checkpoint: NamedTensors, recognition: Recognition, factors: Tensor) -> tuple[str, ...]:
    """What nanochat and modded-nanogpt add to the stream beside its factors, and how the embedding leaves it."""
    beside = {name.rpartition(".")[2]: name for name in recognition.excluded}
    layers = len(factors)
    if _X0 in beside:
        x0 = read_float(checkpoint, beside[_X0]).double().flatten()
    elif recognition.sites[0].tensors["factor"].endswith(".lambdas"):
        x0 = torch.stack([read_float(checkpoint, site.tensors["factor"])[1] for site in recognition.sites]).double()
    else:
        return ()
    if len(x0) != layers:
        return (f"{beside[_X0]} adds the embedding at further places: the product leaves that aside",)
    reached, middle = 1.0, 1.0
    for layer in range(layers):
        reached = float(factors[layer, 0]) * reached + float(x0[layer])
        middle = reached if layer == layers // 2 else middle
    backout = ""
    if _BACKOUT in beside:
        reached -= float(read_float(checkpoint, beside[_BACKOUT]).flatten()[0]) * middle
        backout = f", and {_BACKOUT} takes the stream of layer {layers // 2} off at the end"
    skip = f"beside the stream, the embedding is added again at every layer{backout}"
    return (f"{skip}: with silent branches it leaves the last layer {reached:.4g} times",)


BEAM = ("beam",)
"""Factors of a formula, without a tensor: sqrt((k - 1) / k) at the k-th addition of a branch, k from 2 on."""


def _depth_scaled(checkpoint: NamedTensors, mixers: MixerNames) -> Recognition | None:
    if model_type(checkpoint) not in BEAM or mixers.tensors or unexplained_tensors(checkpoint):
        return None
    match = {name: m for name in checkpoint.tensors if (m := re.match(_AT, name)) is not None}
    first = {int(m["layer"]): name for name, m in reversed(match.items())}
    require_layers(checkpoint, sorted(first), count=None, what="tensors")
    places = [(layer, kind) for layer in sorted(first) for kind in ("attn", "ffn")]
    return Recognition(
        model=model_type(checkpoint),
        sites=tuple(
            Site(name=f"{layer}.{kind}", tensors={"factor": first[layer]}, depth=depth)
            for depth, (layer, kind) in enumerate(places)
        ),
    )


def _depth_factor(site: Site) -> Tensor:
    return torch.tensor([math.sqrt((site.depth + 1) / (site.depth + 2))], dtype=torch.float64)


RESIDUAL_SCALARS = ResidualScalars()
