"""A checkpoint of DeepSeek-V4-Flash's shape that takes 139 MB of disk instead of 160 GB.

Headers, index, configuration and mapping tensors are real; all other tensors are holes. Names, shapes and element types
follow the released checkpoint where they are public; the tensors of the sparse attention's compressor and indexer are
stand-ins that bring the number of tensors to the released one.
"""

import json
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy

LAYERS = 43
HIDDEN = 4096
STREAMS = 4
EXPERTS = 256
EXPERT_WIDTH = 2048
VOCABULARY = 129_280
SHARDS = 46
TENSORS = 69_187

CONFIG = {
    "architectures": ["DeepseekV4ForCausalLM"],
    "model_type": "deepseek_v4",
    "num_hidden_layers": LAYERS,
    "hidden_size": HIDDEN,
    "vocab_size": VOCABULARY,
    "n_routed_experts": EXPERTS,
    "moe_intermediate_size": EXPERT_WIDTH,
    "hc_mult": STREAMS,
    "hc_sinkhorn_iters": 20,
    "hc_eps": 1e-6,
    "rms_norm_eps": 1e-6,
    "num_nextn_predict_layers": 1,
}
ITEM_BYTES = {"F32": 4, "BF16": 2, "I8": 1, "F8_E4M3": 1, "F8_E8M0": 1}


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor of a header."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Length of its data."""
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]

    @property
    def is_written(self) -> bool:
        """Whether it is a mapping tensor, which gets numbers; the others are holes."""
        return ".hc_" in self.name or self.name.startswith("hc_")


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """What was made."""

    tensors: int
    """Number of tensors."""
    apparent_bytes: int
    """Size of all files as programs see it."""
    disk_bytes: int
    """Room that they take."""
    mapping_bytes: int
    """Size of the mapping tensors of the trunk."""


def write_sparse_checkpoint(directory: Path) -> Written:
    """Write shards, index and configuration into an empty directory."""
    shards = _shards()
    random = numpy.random.default_rng(0)
    shard_of = {}
    for number, entries in enumerate(shards, 1):
        name = f"model-{number:05}-of-{SHARDS:05}.safetensors"
        _write_shard(directory / name, entries, random)
        shard_of |= dict.fromkeys((entry.name for entry in entries), name)
    everything = [entry for entries in shards for entry in entries]
    assert len(shard_of) == len(everything) == TENSORS
    index = {"metadata": {"total_size": sum(entry.bytes for entry in everything)}, "weight_map": shard_of}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    (directory / "config.json").write_text(json.dumps(CONFIG))
    sizes = [file.stat() for file in directory.iterdir()]
    return Written(
        tensors=len(everything),
        apparent_bytes=sum(size.st_size for size in sizes),
        disk_bytes=sum(size.st_blocks * 512 for size in sizes),
        mapping_bytes=sum(entry.bytes for entry in everything if ".hc_" in entry.name and "mtp" not in entry.name),
    )


def _shards() -> list[list[Entry]]:
    """Embedding, then one layer each, then the heads, then the MTP block."""
    shards = [[Entry("embed.weight", "BF16", (VOCABULARY, HIDDEN))]]
    shards += [[*_block(f"layers.{layer}."), *_experts(f"layers.{layer}.ffn.")] for layer in range(LAYERS)]
    shards.append(
        [
            Entry("norm.weight", "BF16", (HIDDEN,)),
            Entry("head.weight", "BF16", (VOCABULARY, HIDDEN)),
            *_head(""),
        ]
    )
    shards.append([*_block("mtp.0."), *_experts("mtp.0.ffn."), *_head("mtp.0.")])
    missing = TENSORS - sum(map(len, shards))
    for number in range(missing):
        layer, part = number % LAYERS, number // LAYERS
        shards[1 + layer].append(Entry(f"layers.{layer}.attn.compressor.{part}.weight", "BF16", (512, HIDDEN)))
    return shards


def _block(prefix: str) -> Iterator[Entry]:
    rows, inputs = STREAMS * (STREAMS + 2), STREAMS * HIDDEN
    for kind in ("attn", "ffn"):
        yield Entry(f"{prefix}hc_{kind}_fn", "F32", (rows, inputs))
        yield Entry(f"{prefix}hc_{kind}_base", "F32", (rows,))
        yield Entry(f"{prefix}hc_{kind}_scale", "F32", (3,))
    for name, width in (("attn_norm", HIDDEN), ("ffn_norm", HIDDEN), ("attn.q_norm", 1024), ("attn.kv_norm", 512)):
        yield Entry(f"{prefix}{name}.weight", "BF16", (width,))
    yield Entry(f"{prefix}attn.attn_sink", "F32", (64,))
    yield from _float8(f"{prefix}attn.wq_a", 1024, HIDDEN)
    yield from _float8(f"{prefix}attn.wq_b", 32_768, 1024)
    yield from _float8(f"{prefix}attn.wkv", 512, HIDDEN)
    yield from _float8(f"{prefix}attn.wo_a", 8192, HIDDEN)
    yield from _float8(f"{prefix}attn.wo_b", HIDDEN, 8192)


def _experts(prefix: str) -> Iterator[Entry]:
    yield Entry(f"{prefix}gate.weight", "BF16", (EXPERTS, HIDDEN))
    yield Entry(f"{prefix}gate.bias", "F32", (EXPERTS,))
    shapes = {"w1": (EXPERT_WIDTH, HIDDEN), "w2": (HIDDEN, EXPERT_WIDTH), "w3": (EXPERT_WIDTH, HIDDEN)}
    for matrix, shape in shapes.items():
        yield from _float8(f"{prefix}shared_experts.{matrix}", *shape)
    for expert in range(EXPERTS):
        for matrix, (rows, columns) in shapes.items():
            # Two FP4 numbers a byte, and one scale for 32 of them.
            yield Entry(f"{prefix}experts.{expert}.{matrix}.weight", "I8", (rows, columns // 2))
            yield Entry(f"{prefix}experts.{expert}.{matrix}.scale", "F8_E8M0", (rows, columns // 32))


def _head(prefix: str) -> Iterator[Entry]:
    yield Entry(f"{prefix}hc_head_fn", "F32", (STREAMS, STREAMS * HIDDEN))
    yield Entry(f"{prefix}hc_head_base", "F32", (STREAMS,))
    yield Entry(f"{prefix}hc_head_scale", "F32", (1,))


def _float8(name: str, rows: int, columns: int) -> Iterator[Entry]:
    yield Entry(f"{name}.weight", "F8_E4M3", (rows, columns))
    yield Entry(f"{name}.scale", "F8_E8M0", (math.ceil(rows / 128), math.ceil(columns / 128)))


def _write_shard(path: Path, entries: list[Entry], random: numpy.random.Generator) -> None:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    begins, position = [], 0
    for entry in entries:
        begins.append(position)
        position += entry.bytes
        header[entry.name] = {
            "dtype": entry.dtype,
            "shape": entry.shape,
            "data_offsets": [begins[-1], position],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.truncate(8 + len(text) + position)
        file.write(struct.pack("<Q", len(text)) + text)
        for entry, begin in zip(entries, begins, strict=True):
            if entry.is_written:
                file.seek(8 + len(text) + begin)
                file.write(_numbers(entry, random))


def _numbers(entry: Entry, random: numpy.random.Generator) -> bytes:
    """Scales of 0.5, peaked logits in the base, and projections whose outputs have unit variance."""
    if entry.name.endswith("_scale"):
        values = numpy.full(entry.shape, 0.5)
    elif entry.name.endswith("_base"):
        values = random.standard_normal(entry.shape)
        values[2 * STREAMS :] *= 4
    else:
        values = random.standard_normal(entry.shape) / entry.shape[1] ** 0.5
    return values.astype("<f4").tobytes()
