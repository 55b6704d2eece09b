"""Norms, writers and residual scales of an ordinary transformer, under the names of the usual implementations."""

import re
from collections.abc import Iterator, Mapping, Sequence
from math import exp, fsum, log, nan, prod, sqrt
from typing import Any

import torch
from torch import Tensor

from mhcdiag.layouts import checks
from mhcdiag.layouts.checks import read_float
from mhcdiag.namedtensors import NamedTensors, natural_key, prefetch
from mhcdiag.weight_readers.attention_families import norm_offset
from mhcdiag.weight_readers.plain_attention import FLOATS, attention_doubts, read_attention, unread_attention
from mhcdiag.weight_readers.records import DeepNormScales, NormWeight, PlainWeights, Writer

# Longcat numbers its norms (input_layernorm.0), RWKV says pre_ln, Megatron's BERT ln alone.
_NORM = re.compile(r"(?:^|\.)(?:\w*norm\w*|ln_?\w+|(?:\w+_)?ln)(?:\.\d+)?\.weight$", re.IGNORECASE)
_INNER = re.compile(r"(?:^|[._])(?:q|k|qk|query|key)_?(?:layer_?)?norm(?:\.norms\.\d+)?\.weight$", re.IGNORECASE)
"""Norms of queries and keys: outlier channels and dead ones are usual there, and `attention` bounds what they pass."""
ATTENTION_WRITERS = (
    "self_attn.o_proj", "self_attn.dense", "self_attn.out_proj", "attn.c_proj", "attn.out_proj", "attention.wo",
    "attention.dense", "self_attention.dense",
)  # fmt: skip
FEED_FORWARD_WRITERS = (
    "mlp.down_proj", "mlp.c_proj", "mlp.fc2", "mlp.fc_out", "mlp.dense_4h_to_h", "fc2", "feed_forward.w2",
    "ffn.down_proj",
)  # fmt: skip
WRITERS = {"attention": ATTENTION_WRITERS, "feed-forward": FEED_FORWARD_WRITERS}
# DeepNorm scales what writes and leaves queries and keys alone: the ratio of the two shows its beta.
READERS = ("self_attn.q_proj", "self_attn.k_proj", "attention.wq", "attention.wk", "attn.q_proj", "attn.k_proj")
_DEEPNORM = re.compile(r"^(?:use_)?deep_?(?:norm|net)$", re.IGNORECASE)
_ALPHAS = ("deepnorm_alpha", "deepnet_alpha", "deep_norm_alpha", "residual_alpha")
# Eight vectors together, since one alone converges slowly where the largest singular values lie close together. A
# threshold of `writers` is a factor of 10: two parts in a thousand are more than enough.
_SUBSPACE, _POWER_STEPS, _POWER_TOLERANCE = 8, 12, 2e-3
_CHUNK_ELEMENTS = 4_000_000
"""Elements that are held as float32 at a time beside the stored weight: 16 MB."""


def plain_weights(checkpoint: NamedTensors, blocks: Sequence[str]) -> PlainWeights:
    """Readers of one plain model; nothing but headers is read here."""
    return PlainWeights(
        attention=lambda: read_attention(checkpoint, blocks),
        unread_attention=unread_attention(checkpoint, blocks),
        attention_doubts=lambda: attention_doubts(checkpoint, blocks),
        norms=lambda: _norms(checkpoint),
        unread_norms=lambda: _unread_norms(checkpoint),
        writers=lambda: _writers(checkpoint, blocks),
        unread_writers=lambda: _unread_writers(checkpoint, blocks),
        deepnorm=lambda: _deepnorm(checkpoint, blocks),
        config_scales=_config_scales(checkpoint, len(blocks)),
    )


def _norms(checkpoint: NamedTensors) -> Iterator[NormWeight]:
    names = [name for name in _named_norms(checkpoint) if checkpoint.tensors[name].dtype in FLOATS]
    biases = {name: name.removesuffix("weight") + "bias" for name in names}
    prefetch(checkpoint, [*names, *(bias for bias in biases.values() if bias in checkpoint.tensors)])
    for name in sorted(names, key=natural_key):
        bias = read_float(checkpoint, biases[name]).flatten() if biases[name] in checkpoint.tensors else None
        weight = read_float(checkpoint, name).double().flatten() + norm_offset(checkpoint, name)
        yield NormWeight(name=name, weight=weight, bias=bias, inner=_INNER.search(name) is not None)


def _unread_norms(checkpoint: NamedTensors) -> tuple[str, ...]:
    unread = [name for name in _named_norms(checkpoint) if checkpoint.tensors[name].dtype not in FLOATS]
    if not unread:
        return ()
    kinds = ", ".join(sorted({checkpoint.tensors[name].dtype for name in unread}))
    return (f"{len(unread)} norm weights stored as {kinds} (first: {unread[0]})",)


def _named_norms(checkpoint: NamedTensors) -> list[str]:
    """Norm weights by name; those of queries and keys may have a row for each head."""
    return [
        name
        for name, info in checkpoint.tensors.items()
        if _NORM.search(name) and (len(info.shape) == 1 or (len(info.shape) == 2 and _INNER.search(name)))
    ]


def _writers(checkpoint: NamedTensors, blocks: Sequence[str]) -> Iterator[Writer]:
    """One tensor in memory at a time."""
    for block in blocks:
        for kind, paths in WRITERS.items():
            name = _present(checkpoint, block, paths)
            if name is None:
                continue
            prefetch(checkpoint, [name])
            stored = checkpoint.read(name)
            weight = stored.T if _is_input_major(checkpoint, name) else stored
            square = fsum(float(part.double().square().sum()) for part in _parts(weight))
            yield Writer(name=name, kind=kind, rms=sqrt(square / weight.shape[0]), spectral=_spectral(weight))


def _unread_writers(checkpoint: NamedTensors, blocks: Sequence[str]) -> tuple[str, ...]:
    """By kind, how many blocks have none that is read: other names, experts, other element types."""
    said = []
    for kind, paths in WRITERS.items():
        missing = [block for block in blocks if _present(checkpoint, block, paths) is None]
        names = [f"{block}.{path}.weight" for block in missing for path in paths]
        odd = sorted({checkpoint.tensors[name].dtype for name in names if name in checkpoint.tensors} - set(FLOATS))
        stored = f", or stored as {', '.join(odd)}" if odd else ""
        if missing:
            said.append(
                f"{len(missing)} of {len(blocks)} blocks without {kind} output under a known name{stored}; experts are "
                f"left out (first: {missing[0]})"
            )
    return tuple(said)


def _present(checkpoint: NamedTensors, block: str, paths: Sequence[str]) -> str | None:
    names = (f"{block}.{path}.weight" for path in paths)
    known = (info for name in names if (info := checkpoint.tensors.get(name)) is not None)
    return next((info.name for info in known if info.dtype in FLOATS and len(info.shape) == 2), None)


def _is_input_major(checkpoint: NamedTensors, name: str) -> bool:
    """Whether this is GPT-2's Conv1D: the fused projection beside it shows it, where a square would not."""
    fused = checkpoint.tensors.get(f"{name.rsplit('.', 3)[0]}.attn.c_attn.weight")
    return fused is not None and len(fused.shape) == 2 and fused.shape[0] < fused.shape[1]


def _spectral(weight: Tensor) -> float:
    """Largest singular value by subspace iteration, a part of the rows as float32 at a time."""
    columns = weight.shape[1]
    basis = torch.randn(columns, min(_SUBSPACE, columns), generator=torch.Generator().manual_seed(0))
    size = 0.0
    for _ in range(_POWER_STEPS):
        before = size
        basis = torch.linalg.qr(basis).Q
        image, gram = torch.zeros_like(basis), torch.zeros(basis.shape[1], basis.shape[1])
        for part in _parts(weight):
            rows = part.float()
            output = rows @ basis
            gram += output.T @ output
            image += rows.T @ output
        if not image.isfinite().all():
            return nan
        size, basis = sqrt(max(float(torch.linalg.eigvalsh(gram)[-1]), 0.0)), image
        if not abs(size - before) > _POWER_TOLERANCE * size:
            break
    return size


def _parts(weight: Tensor) -> Iterator[Tensor]:
    rows = max(1, _CHUNK_ELEMENTS // weight.shape[1])
    return (weight[start : start + rows] for start in range(0, weight.shape[0], rows))


def _config_scales(checkpoint: NamedTensors, layers: int) -> dict[str, float]:
    """Factors that the configuration puts on every branch: Granite's, and MiniCPM's divided by sqrt(layers)."""
    config = checks.section(checkpoint, "text_config")
    found = {}
    if (multiplier := checks.positive(checkpoint, config, "residual_multiplier")) is not None:
        found["residual_multiplier"] = multiplier
    if (scale := checks.positive(checkpoint, config, "scale_depth")) is not None:
        found["scale_depth / sqrt(layers)"] = scale / sqrt(layers)
    return found


def _deepnorm(checkpoint: NamedTensors, blocks: Sequence[str]) -> DeepNormScales | None:
    config = checks.section(checkpoint, "text_config")
    if not _says_deepnorm(config):
        return None
    layers = checks.integer(checkpoint, config, "num_hidden_layers", "n_layer", "num_layers", "decoder_layers")
    return DeepNormScales(
        layers=layers or len(blocks),
        alpha=checks.positive(checkpoint, config, *_ALPHAS),
        gain=_gain(checkpoint, blocks),
    )


def _says_deepnorm(config: Mapping[str, Any]) -> bool:
    said = any(_DEEPNORM.match(key) and value is not None and value is not False for key, value in config.items())
    return said or any(config.get(key) is not None for key in _ALPHAS)


def _gain(checkpoint: NamedTensors, blocks: Sequence[str]) -> float | None:
    """Writers against queries and keys: DeepNorm starts the former with the gain beta, the latter with 1."""
    sizes = []
    for paths in ((*ATTENTION_WRITERS, *FEED_FORWARD_WRITERS), READERS):
        logs = []
        for block in blocks:
            for path in paths:
                name = _present(checkpoint, block, (path,))
                if name is not None:
                    weight = read_float(checkpoint, name)
                    mean_square = float(weight.double().square().sum()) / prod(weight.shape)
                    logs.append(log(max(mean_square * sum(weight.shape), 1e-300)) / 2)
        if not logs:
            return None
        sizes.append(sum(logs) / len(logs))
    return exp(sizes[0] - sizes[1])
