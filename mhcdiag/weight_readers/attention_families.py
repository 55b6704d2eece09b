"""What stands between query and key projections and the logits without leaving a weight, by family of models.

Norms without a weight, other scales, caps, factors of long contexts: read in the modules of transformers 5.24, and
compared with what these modules compute (`tests/weight_readers/test_attention_families.py`). Of a model that is none of
them the usual is assumed, and `doubts` says so.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mhcdiag.layouts import checks
from mhcdiag.namedtensors import NamedTensors

COMPARED = frozenset(
    (
        "afmoe", "apertus", "apertus1p5_text", "arcee", "aria_text", "beam", "biogpt", "bloom", "cohere", "cohere2",
        "cohere2_moe", "cwm", "diffllama", "dots1", "ernie4_5", "ernie4_5_moe", "exaone4", "exaone_moe", "falcon",
        "flex_olmo", "flint", "gemma", "gemma2", "gemma3_text", "gemma4_text", "gemma4_unified_text", "glm", "glm4",
        "glm4_moe", "gpt2", "gpt_bigcode", "gpt_neox", "gpt_oss", "gptj", "granite", "granite_swa", "granitemoe",
        "granitemoe_swa", "granitemoeshared", "helium", "hunyuan_v1_dense", "hunyuan_v1_moe", "hy_v3", "hyperclovax",
        "internlm3", "iquestcoder", "jais2", "kolibri1", "laguna", "lfm2", "llama", "llama4_text", "mellum",
        "minimax_m2", "minimax_m3_vl_text", "ministral", "ministral3", "mistral", "mixtral", "mpt", "nanochat",
        "nemotron", "olmo", "olmo2", "olmo3", "olmoe", "opt", "persimmon", "phi", "phi3", "phimoe", "qwen2",
        "qwen2_moe", "qwen3", "qwen3_5_text", "qwen3_moe", "qwen3_next", "sarvam_moe", "seed_oss", "smollm3",
        "solar_open", "stablelm", "starcoder2", "vaultgemma", "xglm",
    )
)  # fmt: skip
"""Values of `model_type` whose bound was held against the module's own logits on inputs that were made to exceed it."""

ONE_PLUS = (
    "gemma", "paligemma", "recurrent_gemma", "vaultgemma", "t5gemma", "qwen3_next", "qwen3_5", "qwen4_exp", "muse_",
    "step3p7", "minimax_m3", "nemotron",
)  # fmt: skip
"""Beginnings of `model_type` whose norms apply 1 + weight."""
NOT_ONE_PLUS = ("gemma3n", "gemma4", "nemotron_", "nemotron3")
"""Those of them whose norms apply the weight as it is."""
# Qwen3-Next's gated norm applies its weight as it is, and so do the LayerNorms of the towers beside Gemma 3.
_PLAIN_NORMS = re.compile(r"linear_attn\.norm\.|vision|visual|audio")

_UNIT_SCALE = ("gemma3n", "gemma4", "embedding_gemma2", "diffusion_gemma")
_HALF_CHANNELS = ("zamba",)
"""Scale (d_head / 2)^-1/2."""
_CAPPED = ("gemma2", "vaultgemma")
_CLIPPED = ("olmo", "olmoe")
_UNIT_NORMS = ("nanochat",)
_ROPE_TYPES = {"default", "linear", "dynamic", "llama3", "proportional", "mrope", "yarn", "longrope", "su"}
_NO_NORM = ("olmo", "nanochat")
"""Families whose norm before the attention has no weight."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Between:
    """What one block does to queries and keys between their projections and the logits, weights aside."""

    scale: float
    """Factor on the logits, usually 1/sqrt(d_head)."""
    factor: float = 1.0
    """How much longer contexts may enlarge the logits: YaRN's and LongRoPE's factor squared, query temperatures."""
    unit_norms: bool = False
    """Whether q and k are normalised to RMS 1 without a weight."""
    clip: float | None = None
    """What every entry of q and k is clipped to."""
    cap: float | None = None
    """What the model caps logits at."""


def family_of(checkpoint: NamedTensors) -> str:
    """The `model_type` of the language model."""
    return str(checks.section(checkpoint, "text_config").get("model_type", ""))


def norm_offset(checkpoint: NamedTensors, name: str) -> float:
    """What a norm adds to its stored weight: 1 in Gemma and its kin."""
    kind = family_of(checkpoint)
    adds = kind.startswith(ONE_PLUS) and not kind.startswith(NOT_ONE_PLUS)
    return float(adds and not _PLAIN_NORMS.search(name))


def has_weightless_norm(checkpoint: NamedTensors) -> bool:
    """Whether the family normalises before the attention without a weight."""
    return family_of(checkpoint) in _NO_NORM


def between(checkpoint: NamedTensors, block: str, *, channels: int, normalised: bool = False) -> Between:
    """What a block does between projections and logits.

    Parameters
    ----------
    block
        Its path, whose last number is that of the layer.
    channels
        Numbers per head.
    normalised
        Whether the names alone tell that q and k are normalised without a weight.
    """
    config = checks.section(checkpoint, "text_config")
    kind = family_of(checkpoint)
    layer = int(re.findall(r"\d+", block)[-1])
    unit = normalised or kind in _UNIT_NORMS
    factor = _rope_factor(config) ** 2
    if kind.startswith("llama4"):
        rotates = _llama4_rotates(config, layer)
        unit = unit or (rotates and config.get("use_qk_norm", True) is True)
        factor *= 1.0 if rotates else _llama4_temperature(config)
    return Between(
        scale=_scale(checkpoint, config, kind, channels) / _inverse_layer(config, layer),
        factor=factor * _ministral_temperature(config),
        unit_norms=unit,
        clip=checks.positive(checkpoint, config, "clip_qkv") if kind in _CLIPPED else None,
        cap=checks.positive(checkpoint, config, "attn_logit_softcapping") if kind in _CAPPED else None,
    )


def doubts(checkpoint: NamedTensors) -> Iterator[str]:
    """What the bounds of this model take for granted; nothing for families that were compared."""
    kind = family_of(checkpoint)
    if kind not in COMPARED:
        named = f"model_type '{kind}'" if kind else "a model without model_type"
        yield f"{named} was not compared with its code: norms without weights and other scales would not show"
    config = checks.section(checkpoint, "text_config")
    for settings in _rope_settings(config):
        if (given := _rope_type(settings)) not in _ROPE_TYPES:
            yield f"rope type '{given}' is not known: it may enlarge queries and keys"


def _scale(checkpoint: NamedTensors, config: Mapping[str, Any], kind: str, channels: int) -> float:
    """1/sqrt(d_head), or what family or configuration say instead.

    GPT-2 can switch it off (`scale_attn_weights`), Gemma 2 and 3 divide by the root of `query_pre_attn_scalar`, Granite
    multiplies by `attention_multiplier`.
    """
    if kind.startswith(_UNIT_SCALE) or config.get("scale_attn_weights") is False:
        return 1.0
    if kind.startswith(_HALF_CHANNELS):
        return float((channels / 2) ** -0.5)
    if scalar := checks.positive(checkpoint, config, "query_pre_attn_scalar"):
        return float(scalar**-0.5)
    found = checks.positive(checkpoint, config, "attention_multiplier")
    return float(channels**-0.5) if found is None else found


def _inverse_layer(config: Mapping[str, Any], layer: int) -> float:
    return layer + 1.0 if config.get("scale_attn_by_inverse_layer_idx") is True else 1.0


def _rope_settings(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The settings of rotary positions, of each type of layer where they differ."""
    for key in ("rope_parameters", "rope_scaling"):
        found = config.get(key)
        if isinstance(found, Mapping):
            nested = [each for each in found.values() if isinstance(each, Mapping)]
            yield from nested or [found]


def _rope_type(settings: Mapping[str, Any]) -> str:
    return str(settings.get("rope_type") or settings.get("type") or "default")


def _rope_factor(config: Mapping[str, Any]) -> float:
    """The largest factor by which rotary positions stretch q and k; sources: YaRN 2309.00071, LongRoPE 2402.13753."""
    return max([1.0, *(_factor_of(settings, config) for settings in _rope_settings(config))])


def _factor_of(settings: Mapping[str, Any], config: Mapping[str, Any]) -> float:
    kind = _rope_type(settings)
    if kind not in ("yarn", "longrope", "su"):
        return 1.0
    if (given := _number(settings.get("attention_factor"))) is not None:
        return given
    original = _number(settings.get("original_max_position_embeddings")) or _number(
        config.get("original_max_position_embeddings")
    )
    longest = _number(config.get("max_position_embeddings"))
    stretched = _number(settings.get("factor")) or (longest / original if longest and original else 1.0)
    if stretched <= 1:
        return 1.0
    if kind == "yarn":
        per_dimension, of_all = _number(settings.get("mscale")), _number(settings.get("mscale_all_dim"))
        both = bool(per_dimension) and bool(of_all)
        logarithm = 0.1 * math.log(stretched)
        return (per_dimension * logarithm + 1) / (of_all * logarithm + 1) if both else logarithm + 1  # type: ignore[operator]
    # Phi-3 keeps the factor in the lengths alone, and transformers prefers it where both are given.
    return math.sqrt(1 + math.log(stretched) / math.log(original)) if original and original > 1 else 1.0


def _llama4_rotates(config: Mapping[str, Any], layer: int) -> bool:
    """Whether this layer rotates by position: all but every fourth one."""
    stated = config.get("no_rope_layers")
    if isinstance(stated, list) and layer < len(stated):
        return bool(stated[layer])
    return (layer + 1) % 4 != 0


def _llama4_temperature(config: Mapping[str, Any]) -> float:
    """What Llama 4 multiplies the queries of its layers without rotation by, at the last position."""
    if config.get("attn_temperature_tuning", True) in (False, None, 0):
        return 1.0
    last = _number(config.get("max_position_embeddings")) or 131072.0
    floor = _number(config.get("floor_scale")) or 8192.0
    slope = _number(config.get("attn_scale"))
    return math.log1p(math.floor(last / floor)) * (0.1 if slope is None else slope) + 1.0


def _ministral_temperature(config: Mapping[str, Any]) -> float:
    """The same of Ministral 3 and Mistral 4, who keep its slope beside the rotary settings."""
    found = [1.0]
    for settings in _rope_settings(config):
        slope = _number(settings.get("llama_4_scaling_beta"))
        last, original = (
            _number(each)
            for each in (config.get("max_position_embeddings"), settings.get("original_max_position_embeddings"))
        )
        if slope and last and original:
            found.append(1 + slope * math.log(1 + math.floor(last / original)))
    return max(found)


def _number(value: object) -> float | None:
    """A number of the configuration; None for anything else."""
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if known and math.isfinite(value) else None  # type: ignore[arg-type]
