"""Query and key projections of ordinary transformer blocks, under the names of the usual implementations."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from mhcdiag.layouts import checks
from mhcdiag.layouts.checks import read_float
from mhcdiag.namedtensors import NamedTensors, prefetch
from mhcdiag.weight_readers import attention_families as families
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
BY_GROUP = ("attention.query_key_value", "self_attention.query_key_value", "self_attn.query_key_value")
"""Modules of q, k and v group by group, the queries of a group first: GPT-NeoX, BLOOM and Falcon, Persimmon."""
NORMS = (
    "input_layernorm", "attention_norm", "ln_1", "ln_attn", "attn_norm", "self_attn_layer_norm", "norm_1", "norm1",
)  # fmt: skip
"""Norms before the attention."""
INNER_NORMS = ("{}_norm", "{}_layernorm", "{}_layer_norm")
"""Norms of queries and keys in the attention; Hunyuan spells q and k out."""
_POSITIONS = re.compile(r"(?:^|\.)(?:embeddings\.)?(?:wpe|embed_positions|position_embeddings)\.weight$")
"""Learned positions: added to the embedding, so that nothing rotates q and k."""
_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads", "attention_heads")
_GATED = ("qwen3_next", "qwen3_5", "qwen4_exp")
"""Families whose q_proj holds a gate behind the query of each head."""
_TOWERS = re.compile(r"vision|visual|audio|image")
_KNOWN_BESIDE = re.compile(
    r"(?:(?:q|k|v|o|g|qkv|gate|out|c|c_q|c_k|c_v|c_attn|resid)(?:_proj)?|w[qkvo]|Wqkv|query_key_value|dense|c_proj|"
    r"(?:q|k|v|query|key|qk|inner_attn|attn_sub)_?(?:layer_?)?norm(?:\.norms\.\d+)?|norm)(?:\.linear)?\.(?:weight|bias)"
    r"|rotary_emb\.inv_freq|rope\.freqs|masked_bias|bias|sinks"
)
"""What stands in an attention module and leaves the logits alone, or is read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Heads:
    """What the configuration says of attention."""

    heads: int
    groups: int
    channels: int | None
    width: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Place:
    """The projections of one block."""

    block: str
    paths: tuple[str, ...]
    """Paths of the modules that hold queries and keys."""
    heads: int
    groups: int
    channels: int
    gated: bool = False

    @property
    def module(self) -> str:
        """Path of the attention."""
        return f"{self.block}.{self.paths[0].removeprefix(f'{self.block}.').split('.')[0]}"


def unread_attention(checkpoint: NamedTensors, blocks: Sequence[str]) -> str:
    """Why no block's attention can be read; empty where it can."""
    heads = _heads(checkpoint)
    if heads is None:
        return "the configuration does not say the number of heads"
    found = [paths for block in blocks if (paths := _paths(checkpoint, block)) is not None]
    if not found:
        return "no query and key projections under a known name (Llama, Qwen, GPT-2, GPT-NeoX, Phi-3, MPT)"
    stored = {checkpoint.tensors[f"{name}.weight"].dtype for paths in found for name in paths}
    if odd := sorted(stored - set(FLOATS)):
        return f"the projections are stored as {', '.join(odd)}, with scales elsewhere"
    if checks.section(checkpoint, "text_config").get("do_layer_norm_before") is False:
        return "norms stand behind the attention: how large its inputs are is not known"
    return "" if _places(checkpoint, blocks) else "no projection fits the heads of config.json"


def attention_doubts(checkpoint: NamedTensors, blocks: Sequence[str]) -> tuple[str, ...]:
    """What of the attention was left out or taken for granted; empty where the whole check could not be made."""
    if unread_attention(checkpoint, blocks):
        return ()
    places = _places(checkpoint, blocks)
    read = {place.block for place in places}
    unfit = [block for block in blocks if block not in read and _paths(checkpoint, block) is not None]
    without = [block for block in blocks if block not in read and block not in unfit]
    said = [*families.doubts(checkpoint)]
    if unfit:
        said.append(f"{len(unfit)} blocks whose projections do not fit the heads of config.json (first: {unfit[0]})")
    if without:
        said.append(f"{len(without)} blocks without query and key projections under a known name (first: {without[0]})")
    if bare := [place.block for place in places if _is_bare(checkpoint, place)]:
        said.append(f"{len(bare)} blocks without a norm before under a known name: inputs of RMS 1 assumed ({bare[0]})")
    if beside := _unknown_beside(checkpoint, places):
        said.append(f"{len(beside)} tensors beside the projections that may change the logits (first: {beside[0]})")
    return tuple(said)


def read_attention(checkpoint: NamedTensors, blocks: Sequence[str]) -> Iterator[QueryKey]:
    """Read block by block, so that one block's projections are in memory at a time; blocks without any are left out."""
    if unread_attention(checkpoint, blocks):
        return
    positions = _learned_positions(checkpoint)
    for place in _places(checkpoint, blocks):
        yield _read(checkpoint, place, rotated=not any(place.block.startswith(start) for start in positions))


def _heads(checkpoint: NamedTensors) -> _Heads | None:
    config = checks.section(checkpoint, "text_config")
    heads = checks.integer(checkpoint, config, *_HEADS)
    if heads is None:
        return None
    groups = checks.integer(checkpoint, config, "num_key_value_heads", "n_kv_head", "n_kv_heads")
    if config.get("new_decoder_architecture") is True:  # Falcon: its other models say num_kv_heads and mean nothing
        groups = checks.integer(checkpoint, config, "num_kv_heads")
    elif config.get("multi_query") is True:
        groups = 1
    return _Heads(
        heads=heads,
        groups=groups or heads,
        channels=checks.integer(checkpoint, config, "head_dim"),
        width=checks.integer(checkpoint, config, "hidden_size", "n_embd", "d_model", "dim"),
    )


def _paths(checkpoint: NamedTensors, block: str) -> tuple[str, ...] | None:
    """Paths of the modules that hold queries and keys; none in the towers of other senses beside a language model."""
    if _TOWERS.search(block) and "text_config" in (checkpoint.config or {}):
        return None
    for names in (*PAIRS, *((name,) for name in (*FUSED, *BY_GROUP))):
        paths = tuple(f"{block}.{name}" for name in names)
        if all(f"{path}.weight" in checkpoint.tensors for path in paths):
            return paths
    return None


def _places(checkpoint: NamedTensors, blocks: Sequence[str]) -> list[_Place]:
    """The blocks whose projections fit the configured heads, and those of another size whose norms show it."""
    heads = _heads(checkpoint)
    assert heads is not None
    found = ((block, _paths(checkpoint, block)) for block in blocks)
    places = (_place(checkpoint, block, paths, heads) for block, paths in found if paths is not None)
    return [place for place in places if place is not None and _has_read_norms(checkpoint, place)]


def _place(checkpoint: NamedTensors, block: str, paths: tuple[str, ...], heads: _Heads) -> _Place | None:
    shapes = [checkpoint.tensors[f"{path}.weight"].shape for path in paths]
    if any(len(shape) != 2 for shape in shapes) or heads.heads % heads.groups:
        return None
    if len(paths) == 1:
        rows, inputs = shapes[0]
        if _input_major(paths[0], shapes[0], heads.width):
            rows, inputs = inputs, rows
        channels = heads.channels or rows // (heads.heads + 2 * heads.groups)
        fits = rows == channels * (heads.heads + 2 * heads.groups) and heads.width in (None, inputs)
        return _Place(
            block=block, paths=paths, heads=heads.heads, groups=heads.groups, channels=channels
        ) if fits else None  # fmt: skip
    (rows, inputs), (key_rows, key_inputs) = shapes
    if inputs != key_inputs or heads.width not in (None, inputs):
        return None
    gated = families.family_of(checkpoint).startswith(_GATED)
    rows //= 2 if gated else 1
    # Some layers of Gemma 4 and its kin have heads of another size: the norm of each head tells it.
    normed = checkpoint.tensors.get(f"{block}.{paths[0].removeprefix(f'{block}.').split('.')[0]}.q_norm.weight")
    sizes = [heads.channels or rows // heads.heads, *(normed.shape if normed and len(normed.shape) == 1 else ())]
    for channels in sizes:
        same = rows == heads.heads * channels and key_rows == heads.groups * channels
        other = channels != rows and channels > 0 and not rows % channels and not key_rows % channels
        count, groups = (heads.heads, heads.groups) if same else (rows // channels, key_rows // channels)
        if same or (other and channels == sizes[-1] and len(sizes) > 1 and groups and not count % groups):
            return _Place(block=block, paths=paths, heads=count, groups=groups, channels=channels, gated=gated)
    return None


def _input_major(path: str, shape: tuple[int, ...], width: int | None) -> bool:
    """Whether a fused weight is stored as GPT-2's Conv1D is: a row for each input."""
    return path.endswith("attn.c_attn") and shape[0] < shape[1] and width in (None, shape[0])


def _norm_before(checkpoint: NamedTensors, block: str) -> str:
    return next((f"{block}.{name}" for name in NORMS if f"{block}.{name}.weight" in checkpoint.tensors), "")


def _is_bare(checkpoint: NamedTensors, place: _Place) -> bool:
    """Whether nothing says how large the inputs are, nor what becomes of queries and keys."""
    if _norm_before(checkpoint, place.block) or families.has_weightless_norm(checkpoint):
        return False
    return not _between(checkpoint, place).unit_norms and not all(_inner(checkpoint, place, of) for of in "qk")


def _between(checkpoint: NamedTensors, place: _Place) -> families.Between:
    """What stands between; nanochat's own names alone tell its norms, since its files say no family."""
    own = place.paths[0].endswith("attn.c_q") and not families.family_of(checkpoint)
    return families.between(checkpoint, place.block, channels=place.channels, normalised=own)


def _unknown_beside(checkpoint: NamedTensors, places: Sequence[_Place]) -> list[str]:
    modules = {place.module for place in places}
    found = []
    for name in checkpoint.tensors:
        ends = [at for at, letter in enumerate(name) if letter == "."]
        start = next((end + 1 for end in ends if name[:end] in modules), None)
        if start is not None and not _KNOWN_BESIDE.fullmatch(name[start:]):
            found.append(name)
    return found


def _read(checkpoint: NamedTensors, place: _Place, *, rotated: bool) -> QueryKey:
    norm = _norm_before(checkpoint, place.block)
    parts = [f"{path}.{kind}" for path in (*place.paths, norm) for kind in ("weight", "bias")]
    prefetch(checkpoint, [name for name in parts if name in checkpoint.tensors])
    heads = _heads(checkpoint)
    assert heads is not None
    weights = [_projection(checkpoint, path, heads.width) for path in place.paths]
    query, key = weights if len(weights) == 2 else _split(weights[0], place, family=families.family_of(checkpoint))
    if norm:
        gamma = read_float(checkpoint, f"{norm}.weight") + families.norm_offset(checkpoint, norm)
        beta = _bias(checkpoint, norm, len(gamma))
        gamma, beta = torch.cat([gamma, gamma.new_zeros(1)]), torch.cat([beta, beta.new_ones(1)])
    else:
        gamma = torch.cat([torch.ones(query.shape[1] - 1), torch.zeros(1)])
        beta = 1 - gamma
    if place.gated:
        query = query.view(place.heads, 2, place.channels, -1)[:, 0]
    query, key = (each.reshape(-1, place.channels, each.shape[-1]) for each in (query, key))
    facts = _between(checkpoint, place)
    return QueryKey(
        block=place.block,
        query_gram=_gram(query * gamma),
        key_gram=_gram(key * gamma),
        query_offset=(query @ beta).double(),
        key_offset=(key @ beta).double(),
        inputs=query.shape[-1] - 1,
        scale=facts.scale * facts.factor,
        rotated=rotated,
        query_limit=_limit(checkpoint, place, "q", place.heads, unit=facts.unit_norms),
        key_limit=_limit(checkpoint, place, "k", place.groups, unit=facts.unit_norms),
        clip=facts.clip,
        cap=facts.cap,
    )


def _learned_positions(checkpoint: NamedTensors) -> list[str]:
    """What the names of blocks with learned positions begin with: an audio tower's say nothing of the others."""
    config = checks.section(checkpoint, "text_config")
    if any(config.get(key) for key in ("rope_theta", "rope_parameters", "rope_scaling", "rotary_dim")):
        return []
    found = ((name, _POSITIONS.search(name)) for name in checkpoint.tensors)
    return [name[: match.start()] + "." * bool(match.start()) for name, match in found if match is not None]


def _projection(checkpoint: NamedTensors, path: str, width: int | None) -> Tensor:
    """A projection [output, input + 1], its bias as the last column."""
    weight = read_float(checkpoint, f"{path}.weight").float()
    weight = weight.T if _input_major(path, tuple(weight.shape), width) else weight
    return torch.cat([weight, _bias(checkpoint, path, weight.shape[0])[:, None]], dim=1)


def _bias(checkpoint: NamedTensors, path: str, size: int) -> Tensor:
    name = f"{path}.bias"
    return read_float(checkpoint, name).float() if name in checkpoint.tensors else torch.zeros(size)


def _split(fused: Tensor, place: _Place, *, family: str) -> tuple[Tensor, Tensor]:
    # GPT-BigCode without multi-query goes head by head under the name of GPT-2's module, which does not.
    by_head = family == "gpt_bigcode" and place.groups == place.heads
    if place.paths[0].endswith(BY_GROUP) or by_head:
        parts = fused.view(place.groups, place.heads // place.groups + 2, place.channels, -1)
        return parts[:, :-2], parts[:, -2]
    rows = place.heads * place.channels
    return fused[:rows], fused[rows : rows + place.groups * place.channels]


def _gram(weight: Tensor) -> Tensor:
    return (weight @ weight.mT).double()


def _inner(checkpoint: NamedTensors, place: _Place, of: str) -> list[str]:
    """The norm of queries or keys; StableLM has one for each head."""
    long = {"q": "query", "k": "key"}[of]
    for pattern in INNER_NORMS:
        for start in (of, long):
            path = f"{place.module}.{pattern.format(start)}"
            if f"{path}.weight" in checkpoint.tensors:
                return [path]
            if f"{path}.norms.0.weight" in checkpoint.tensors:
                return [f"{path}.norms.{head}" for head in range(place.heads if of == "q" else place.groups)]
    return []


def _has_read_norms(checkpoint: NamedTensors, place: _Place) -> bool:
    """Whether the norms of queries and keys, if any, have a shape and a type that is known."""
    for of, count in (("q", place.heads), ("k", place.groups)):
        paths = _inner(checkpoint, place, of)
        infos = [checkpoint.tensors.get(f"{path}.weight") for path in paths]
        fitting = [(place.channels,), (count, place.channels), (count * place.channels,)]
        known = all(info is not None and info.dtype in FLOATS and info.shape in fitting for info in infos)
        if not known or (len(infos) > 1 and any(info and info.shape != (place.channels,) for info in infos)):
            return False
    return True


def _limit(checkpoint: NamedTensors, place: _Place, of: str, count: int, *, unit: bool) -> Tensor | None:
    """The largest |q| of each head behind a norm: sqrt(size) max |weight| + |bias|, size being what it normalises."""
    paths = _inner(checkpoint, place, of)
    if not paths:
        return torch.full((count,), sqrt(place.channels), dtype=torch.float64) if unit else None
    weights = [
        read_float(checkpoint, f"{path}.weight").double() + families.norm_offset(checkpoint, path) for path in paths
    ]
    biases = [_bias(checkpoint, path, weights[0].numel()).double() for path in paths]
    # A flat weight of all heads is a norm over all of them (OLMo 2): one head may have the whole of it.
    whole = len(paths) == 1 and weights[0].ndim == 1 and count > 1 and weights[0].numel() == count * place.channels
    size = weights[0].numel() if whole else place.channels
    weight, bias = (
        torch.cat([each.flatten() for each in parts]).view(-1, place.channels) for parts in (weights, biases)
    )
    found: Tensor = sqrt(size) * weight.abs().amax(dim=-1) + bias.norm(dim=-1)
    return found.expand(count)
