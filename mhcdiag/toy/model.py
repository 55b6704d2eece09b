"""A small character-level transformer over n residual streams.

Every site is one branch: causal attention or a feed-forward network with SiLU, each behind an RMSNorm without weights.
Parameters of all blocks are stacked, sites first, so that an optimiser step handles a dozen tensors instead of
hundreds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor
from torch.nn import functional

from mhcdiag.toy.settings import ToySettings
from mhcdiag.toy.topologies import SiteMaps, Streams, topology_for
from mhcdiag.toy.topologies.interface import RMS_EPS

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def stored_as(streams: Tensor, dtype: str) -> Tensor:
    """The streams after a round trip through an element type: rounded, and infinite beyond its range.

    The gradient passes unchanged, so that what a run suffers from is the size of its streams alone.
    """
    if dtype == "fp32":
        return streams
    result: Tensor = _RoundTrip.apply(streams, DTYPES[dtype])  # type: ignore[no-untyped-call]
    return result


class _RoundTrip(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, streams: Tensor, dtype: torch.dtype) -> Tensor:
        del ctx
        return streams.to(dtype).to(streams.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        del ctx
        return gradient, None


EXPANSION = 4
"""Hidden features of the feed-forward network, in widths."""

DEVIATION = 0.02
"""Standard deviation of all matrices at the start, as in GPT-2."""

Parameters = dict[str, Tensor]
BLOCK_WEIGHTS = ("attn.qkv", "attn.out", "ffn.up", "ffn.down")
"""Matrices of a transformer block, in the order in which a signal passes them."""
CONNECTION = "hc."
"""Prefix of the stacked parameters of the connections."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteRecord:
    """What passed one site during a forward pass."""

    maps: SiteMaps | None
    """Its mappings; None for the ordinary residual stream."""
    before: Streams
    """The streams that entered."""
    branch: Float[Tensor, "token width"]
    """What the branch added."""
    after: Streams
    """The streams that left."""


def initial_parameters(settings: ToySettings, *, vocabulary: int) -> Parameters:
    """Parameters at step 0; the transformer's own depend on the seed alone, and are the same for all topologies."""
    generator = Generator().manual_seed(settings.seed)
    depth, width, hidden = settings.depth, settings.width, EXPANSION * settings.width

    def normal(*shape: int, factor: float = 1.0) -> Tensor:
        return factor * DEVIATION * torch.randn(*shape, generator=generator)

    closing = (2 * depth) ** -0.5  # what all sites write then adds up to the size of one of them
    found = {
        "embedding": normal(vocabulary, width),
        "position": normal(settings.context, width),
        "attn.qkv": normal(depth, 3 * width, width),
        "attn.out": normal(depth, width, width, factor=closing),
        "ffn.up": normal(depth, hidden, width),
        "ffn.down": normal(depth, width, hidden, factor=closing),
        "head": normal(vocabulary, width),
    }
    connections = topology_for(settings).initial(settings, Generator().manual_seed(settings.seed + 1))
    return found | {CONNECTION + name: value for name, value in connections.items()}


class ToyModel:
    """The model as a function of its parameters."""

    def __init__(self, settings: ToySettings, parameters: Parameters) -> None:
        self.settings = settings
        self.parameters = parameters
        self.topology = topology_for(settings)

    def loss(self, tokens: Int[Tensor, "batch longer"]) -> Float[Tensor, ""]:
        """Mean cross-entropy in nats of each character given those before it."""
        logits = self.logits(tokens[:, :-1])
        return functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())

    def logits(
        self, tokens: Int[Tensor, "batch position"], *, record: list[SiteRecord] | None = None
    ) -> Float[Tensor, "batch position character"]:
        """Predictions; what passes each site is appended to `record`."""
        batch, length = tokens.shape
        embedded = self.parameters["embedding"][tokens] + self.parameters["position"][:length]
        streams = embedded.flatten(0, 1).unsqueeze(1)
        streams = streams.expand(-1, self.topology.streams(self.settings), -1).contiguous()
        for branch, packed in zip(self._branches(batch), self._packed(), strict=True):
            streams = self._site(streams, branch, packed, record)
        final = _rms_norm(streams.float().mean(dim=1))
        return (final @ self.parameters["head"].T).view(batch, length, -1)

    def _site(
        self,
        streams: Streams,
        branch: "Branch",
        packed: tuple[Tensor, ...],
        record: list[SiteRecord] | None,
    ) -> Streams:
        maps = self.topology.maps(streams, packed)
        if maps is None:
            added = branch(streams[:, 0])
            after = streams + added.unsqueeze(1)
        else:
            added = branch(torch.bmm(maps.pre.unsqueeze(1), streams).squeeze(1))
            written = maps.post.unsqueeze(2) * added.unsqueeze(1)
            after = streams + written if maps.res is None else torch.baddbmm(written, maps.res, streams)
        after = stored_as(after, self.settings.stream_dtype)
        if record is not None:
            record.append(SiteRecord(maps=maps, before=streams, branch=added, after=after))
        return after

    def _branches(self, batch: int) -> Iterator["Branch"]:
        for qkv, out, up, down in zip(*(self.parameters[name].unbind() for name in BLOCK_WEIGHTS), strict=True):
            yield Attention(qkv=qkv, out=out, batch=batch, heads=self.settings.heads, qk_norm=self.settings.qk_norm)
            yield FeedForward(up=up, down=down)

    def _packed(self) -> Iterator[tuple[Tensor, ...]]:
        own = {
            name.removeprefix(CONNECTION): value
            for name, value in self.parameters.items()
            if name.startswith(CONNECTION)
        }
        stacked = self.topology.pack(own)
        sites = 2 * self.settings.depth
        return zip(*(each.unbind() for each in stacked), strict=True) if stacked else iter([()] * sites)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """Causal self-attention behind an RMSNorm."""

    qkv: Float[Tensor, "threefold width"]
    out: Float[Tensor, "width width"]
    batch: int
    heads: int
    qk_norm: bool

    def __call__(self, x: Float[Tensor, "token width"]) -> Float[Tensor, "token width"]:
        """What attention adds."""
        width = x.shape[-1]
        parts = (_rms_norm(x) @ self.qkv.T).view(self.batch, -1, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind()
        if self.qk_norm:
            query, key = _rms_norm(query), _rms_norm(key)
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return mixed.transpose(1, 2).reshape(-1, width) @ self.out.T


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedForward:
    """Two matrices with SiLU between them, behind an RMSNorm."""

    up: Float[Tensor, "hidden width"]
    down: Float[Tensor, "width hidden"]

    def __call__(self, x: Float[Tensor, "token width"]) -> Float[Tensor, "token width"]:
        """What the network adds."""
        return functional.silu(_rms_norm(x) @ self.up.T) @ self.down.T


Branch = Attention | FeedForward


def _rms_norm(x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
    return x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + RMS_EPS)
