"""What a scan looks at: stored tensors, each of stacked experts by itself, packed values unpacked."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from mhcdiag.namedtensors import TensorInfo
from mhcdiag.tensorfiles.streams import Block, Reader, Stream

# transformers ("mlp.experts.gate_up_proj", GPT-OSS's "..._blocks"), llama.cpp ("ffn_gate_exps.weight").
_STACKED_EXPERTS = re.compile(r"(?:^|[._])(?:experts?|exps)(?:[._]|$)")
_EXPERT_NUMBER = re.compile(r"(?:^|[._])experts?\.\d+\.|(?:weight|bias)\d+$")
_MOST_EXPERTS = 4096
"""First axes longer than this are no experts: 384 is the most in a released model (2026)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One tensor, or one expert of a tensor that holds several."""

    tensor: str
    """Name of the tensor in the checkpoint, with the rank behind it where several processes saved it."""
    index: tuple[int, ...]
    """Which expert, as index into the first axis; empty for a whole tensor."""
    stream: Stream
    is_models: bool = True
    """Whether it is a tensor of the model; else it stands beside it, as the state of an optimizer."""

    @property
    def name(self) -> str:
        """As reports show it: `mlp.experts.gate_up_proj[7]`."""
        return f"{self.tensor}[{', '.join(map(str, self.index))}]" if self.index else self.tensor


def parts_of(stream: Stream, tensors: Mapping[str, TensorInfo]) -> Iterator[Part]:
    """What a scan looks at of one stored tensor.

    Parameters
    ----------
    tensors
        All of the checkpoint: scales beside packed values say what those are.
    """
    stream = _unpacked(stream, tensors)
    shape = stream.shape
    stacked = _STACKED_EXPERTS.search(stream.name) and not _EXPERT_NUMBER.search(stream.name)
    if not (stacked and len(shape) >= 3 and 1 < shape[0] <= _MOST_EXPERTS and math.prod(shape[1:])):
        yield Part(tensor=stream.name, index=(), stream=stream)
        return
    for expert in range(shape[0]):
        blocks = tuple(_of_expert(block, expert) for block in stream.blocks if _holds(block, expert))
        one = replace(
            stream, shape=shape[1:], blocks=blocks, bytes=stream.bytes // shape[0],
            memory=None if stream.memory is None else (stream.memory, expert),
        )  # fmt: skip
        yield Part(tensor=stream.name, index=(expert,), stream=one)


def _holds(block: Block, expert: int) -> bool:
    return block.offsets[0] <= expert < block.offsets[0] + block.shape[0]


def _of_expert(block: Block, expert: int) -> Block:
    skipped = (expert - block.offsets[0]) * math.prod(block.shape[1:])
    return replace(block, offsets=block.offsets[1:], shape=block.shape[1:], read=_further(block, skipped))


def _further(block: Block, skipped: int) -> Reader:
    return lambda first, count, buffer: block.read(skipped + first, count, buffer)


# What packed bytes are: the tensor of scales beside them tells


def _unpacked(stream: Stream, tensors: Mapping[str, TensorInfo]) -> Stream:
    """Bytes as the values that they stand for, where the checkpoint says so."""
    if stream.dtype not in ("U8", "I8") or not stream.shape:
        return stream
    name = stream.name
    # GPT-OSS: `..._blocks` of 16 bytes with 32 values, `..._scales` with a power of two for each block, as bytes.
    if name.endswith("_scales") and f"{name.removesuffix('scales')}blocks" in tensors:
        return replace(stream, dtype="F8_E8M0")
    if name.endswith("_blocks") and f"{name.removesuffix('blocks')}scales" in tensors:
        return _halved(stream)
    stem = name.removesuffix("_packed").removesuffix(".weight")
    if any(_pair(stream.shape, tensors.get(f"{stem}.{scale}")) for scale in _SCALES):
        return _halved(stream)
    for scale in _SCALES:
        stem = name.removesuffix(f".{scale}")
        packed = (tensors.get(f"{stem}.{weight}") for weight in ("weight", "weight_packed"))
        info = TensorInfo(name, "U8", stream.shape)
        # compressed-tensors keeps powers of two as bytes.
        if stem != name and any(one and one.dtype in ("U8", "I8") and _pair(one.shape, info) for one in packed):
            return replace(stream, dtype="F8_E8M0")
    return stream


_SCALES = ("scale", "weight_scale")


def _pair(packed: tuple[int, ...], scale: TensorInfo | None) -> bool:
    """Whether bytes are two values each, by the scales beside them: bytes of one value would have half as many.

    DeepSeek-V4 and the MX formats have 32 values a scale (E8M0, also as plain bytes), NVIDIA's format 16 (E4M3).
    """
    if scale is None or not packed or len(scale.shape) != len(packed):
        return False
    per_scale = {"F8_E8M0": 32, "U8": 32, "F8_E4M3": 16}.get(scale.dtype, 0)
    return packed[-1] > 0 and per_scale * scale.shape[-1] == 2 * packed[-1]


def _halved(stream: Stream) -> Stream:
    """Each byte as two numbers of four bits."""
    blocks = tuple(
        Block(
            offsets=(*block.offsets[:-1], 2 * block.offsets[-1]),
            shape=(*block.shape[:-1], 2 * block.shape[-1]),
            read=_half(block),
        )
        for block in stream.blocks
    )
    return replace(stream, dtype="F4", shape=(*stream.shape[:-1], 2 * stream.shape[-1]), blocks=blocks)


def _half(block: Block) -> Reader:
    return lambda first, count, buffer: block.read(first // 2, count // 2, buffer)
