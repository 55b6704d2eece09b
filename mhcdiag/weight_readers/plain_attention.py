"""Query and key projections of ordinary transformer blocks, under the names of the usual implementations."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import torch
from torch import Tensor

from mhcdiag.layouts import checks
from mhcdiag.layouts.checks import read_float
from mhcdiag.namedtensors import NamedTensors, prefetch
from mhcdiag.weight_readers.query_key import QueryKey

FLOATS = ("F64", "F32", "F16", "BF16")
PAIRS = (
    ("self_attn.q_proj", "self_attn.k_proj"),
    ("self_attn.q_proj.linear", "self_attn.k_proj.linear"),
    ("attn.q_proj", "attn.k_proj"),
    ("attention.q_proj", "attention.k_proj"),
    ("attention.wq", "attention.wk"),
    ("attn.c_q", "attn.c_k"),
)
"""Modules of Llama, Qwen, OLMo, OPT and GPT-J in transformers, of Llama's own code, of nanochat."""
FUSED = ("attn.c_attn", "self_attn.qkv_proj", "attn.Wqkv")
"""Modules of q, k and v one after the other: GPT-2 and nanoGPT, Phi-3, MPT."""
BY_HEAD = ("attention.query_key_value", "self_attention.query_key_value")
"""Modules of q, k and v head by head: GPT-NeoX, BLOOM."""
NORMS = ("input_layernorm", "attention_norm", "ln_1", "ln_attn", "attn_norm", "self_attn_layer_norm", "norm_1", "norm1")
"""Norms before the attention."""
ONE_PLUS = (
    "gemma", "paligemma", "recurrent_gemma", "vaultgemma", "t5gemma", "qwen3_next", "qwen3_5", "muse_", "step3p7",
    "minimax_m3",
)  # fmt: skip
"""Beginnings of `model_type` whose norms apply 1 + weight."""
NOT_ONE_PLUS = ("gemma3n", "gemma4")
"""Later Gemmas, whose norms apply the weight as it is."""
_POSITIONS = ("wpe.weight", "embed_positions.weight", "position_embeddings.weight")
"""Learned positions: added to the embedding, so that nothing rotates q and k."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Heads:
    """What the configuration says of attention."""

    heads: int
    groups: int
    channels: int | None
    width: int | None
    scale: float | None
    cap: float | None
    norm_offset: float


def unread_attention(checkpoint: NamedTensors, blocks: Sequence[str]) -> str:
    """Why no block's attention can be read; empty where it can."""
    if _heads(checkpoint) is None:
        return "the configuration does not say the number of heads"
    places = [place for block in blocks if (place := _place(checkpoint, block)) is not None]
    if not places:
        return "no query and key projections under a known name (Llama, Qwen, GPT-2, GPT-NeoX, Phi-3, MPT)"
    stored = {checkpoint.tensors[f"{name}.weight"].dtype for place in places for name in place}
    if odd := sorted(stored - set(FLOATS)):
        return f"the projections are stored as {', '.join(odd)}, with scales elsewhere"
    return "" if any(_fits(checkpoint, place) for place in places) else "no projection fits the heads of config.json"


def read_attention(checkpoint: NamedTensors, blocks: Sequence[str]) -> Iterator[QueryKey]:
    """Read block by block, so that one block's projections are in memory at a time; blocks without any are left out."""
    heads = _heads(checkpoint)
    if heads is None or unread_attention(checkpoint, blocks):
        return
    for block in blocks:
        place = _place(checkpoint, block)
        if place is not None and _fits(checkpoint, place):
            yield _read(checkpoint, block, place, heads)


def norm_offset(checkpoint: NamedTensors) -> float:
    """What norms add to their stored weight: 1 in Gemma and its kin."""
    kind = str(checks.section(checkpoint, "text_config").get("model_type", ""))
    return float(kind.startswith(ONE_PLUS) and not kind.startswith(NOT_ONE_PLUS))


def _heads(checkpoint: NamedTensors) -> _Heads | None:
    config = checks.section(checkpoint, "text_config")
    heads = checks.integer(checkpoint, config, "num_attention_heads", "n_head", "n_heads", "num_heads")
    if heads is None:
        return None
    return _Heads(
        heads=heads,
        groups=checks.integer(checkpoint, config, "num_key_value_heads", "n_kv_head", "n_kv_heads") or heads,
        channels=checks.integer(checkpoint, config, "head_dim"),
        width=checks.integer(checkpoint, config, "hidden_size", "n_embd", "d_model", "dim"),
        scale=_scale(checkpoint, config),
        cap=checks.positive(checkpoint, config, "attn_logit_softcapping"),
        norm_offset=norm_offset(checkpoint),
    )


def _scale(checkpoint: NamedTensors, config: Mapping[str, Any]) -> float | None:
    """The factor on the logits where the configuration states another than 1/sqrt(d_head).

    GPT-2 can switch it off (`scale_attn_weights`), Gemma 2 and 3 divide by the root of `query_pre_attn_scalar`, Granite
    multiplies by `attention_multiplier`.
    """
    if config.get("scale_attn_weights") is False:
        return 1.0
    scalar = checks.positive(checkpoint, config, "query_pre_attn_scalar")
    return 1 / sqrt(scalar) if scalar else checks.positive(checkpoint, config, "attention_multiplier")


def _place(checkpoint: NamedTensors, block: str) -> tuple[str, ...] | None:
    """Paths of the modules that hold queries and keys."""
    candidates = [*PAIRS, *((name,) for name in (*FUSED, *BY_HEAD))]
    for names in candidates:
        paths = tuple(f"{block}.{name}" for name in names)
        if all(f"{path}.weight" in checkpoint.tensors for path in paths):
            return paths
    return None


def _fits(checkpoint: NamedTensors, place: tuple[str, ...]) -> bool:
    """Whether the projections are those of the configured heads, and not of a vision tower beside them."""
    heads = _heads(checkpoint)
    assert heads is not None
    shapes = [checkpoint.tensors[f"{path}.weight"].shape for path in place]
    if any(len(shape) != 2 for shape in shapes) or heads.heads % heads.groups:
        return False
    if len(shapes) == 2:
        (rows, inputs), (key_rows, key_inputs) = shapes
        channels = heads.channels or rows // heads.heads
        sized = rows == heads.heads * channels and key_rows == heads.groups * channels and inputs == key_inputs
    else:
        rows, inputs = shapes[0]
        if _input_major(place[0], shapes[0], heads):
            rows, inputs = inputs, rows
        sized = rows == _channels(rows, heads) * (heads.heads + 2 * heads.groups)
        sized = sized and not (place[0].endswith(BY_HEAD) and heads.groups != heads.heads)
    return sized and heads.width in (None, inputs)


def _channels(rows: int, heads: _Heads) -> int:
    return heads.channels or rows // (heads.heads + 2 * heads.groups)


def _input_major(path: str, shape: tuple[int, ...], heads: _Heads) -> bool:
    """Whether a fused weight is stored as GPT-2's Conv1D is: a row for each input."""
    return path.endswith("attn.c_attn") and shape[0] < shape[1] and heads.width in (None, shape[0])


def _read(checkpoint: NamedTensors, block: str, place: tuple[str, ...], heads: _Heads) -> QueryKey:
    norm = next((f"{block}.{name}" for name in NORMS if f"{block}.{name}.weight" in checkpoint.tensors), "")
    parts = [f"{path}.{kind}" for path in (*place, norm) for kind in ("weight", "bias")]
    prefetch(checkpoint, [name for name in parts if name in checkpoint.tensors])
    weights = [_projection(checkpoint, path, heads) for path in place]
    query, key = weights if len(weights) == 2 else _split(weights[0], place[0], heads)
    channels = query.shape[0] // heads.heads
    if norm:
        gamma = read_float(checkpoint, f"{norm}.weight") + heads.norm_offset
        beta = _bias(checkpoint, norm, len(gamma))
        gamma, beta = torch.cat([gamma, gamma.new_zeros(1)]), torch.cat([beta, beta.new_ones(1)])
    else:
        gamma = torch.cat([torch.ones(query.shape[1] - 1), torch.zeros(1)])
        beta = 1 - gamma
    query, key = query.view(heads.heads, channels, -1), key.view(heads.groups, channels, -1)
    return QueryKey(
        block=block,
        query_gram=_gram(query * gamma),
        key_gram=_gram(key * gamma),
        query_offset=(query @ beta).double(),
        key_offset=(key @ beta).double(),
        inputs=query.shape[-1] - 1,
        scale=channels**-0.5 if heads.scale is None else heads.scale,
        rotated=not any(name.endswith(_POSITIONS) for name in checkpoint.tensors),
        query_limit=_limit(checkpoint, block, "q", heads.norm_offset),
        key_limit=_limit(checkpoint, block, "k", heads.norm_offset),
        cap=heads.cap,
    )


def _projection(checkpoint: NamedTensors, path: str, heads: _Heads) -> Tensor:
    """A projection [output, input + 1], its bias as the last column."""
    weight = read_float(checkpoint, f"{path}.weight").float()
    weight = weight.T if _input_major(path, tuple(weight.shape), heads) else weight
    return torch.cat([weight, _bias(checkpoint, path, weight.shape[0])[:, None]], dim=1)


def _bias(checkpoint: NamedTensors, path: str, size: int) -> Tensor:
    name = f"{path}.bias"
    return read_float(checkpoint, name).float() if name in checkpoint.tensors else torch.zeros(size)


def _split(fused: Tensor, path: str, heads: _Heads) -> tuple[Tensor, Tensor]:
    channels = _channels(fused.shape[0], heads)
    if path.endswith(BY_HEAD):
        query, key, _ = fused.view(heads.heads, 3, channels, -1).unbind(dim=1)
        return query.reshape(heads.heads * channels, -1), key.reshape(heads.heads * channels, -1)
    rows = heads.heads * channels
    return fused[:rows], fused[rows : rows + heads.groups * channels]


def _gram(weight: Tensor) -> Tensor:
    return (weight @ weight.mT).double()


def _limit(checkpoint: NamedTensors, block: str, of: str, offset: float) -> float | None:
    """The largest |q| behind a norm: sqrt(size) max |weight| + |bias|."""
    for name in (f"self_attn.{of}_norm", f"attn.{of}_norm", f"self_attn.{of}_layernorm", f"attention.{of}_norm"):
        if f"{block}.{name}.weight" in checkpoint.tensors:
            weight = read_float(checkpoint, f"{block}.{name}.weight") + offset
            bias = _bias(checkpoint, f"{block}.{name}", weight.shape[-1])
            return float(sqrt(weight.shape[-1]) * weight.abs().max() + bias.norm())
    return None
