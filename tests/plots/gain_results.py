"""Small gain records: measured from mappings that a test chooses, or from curves by hand."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from mhcdiag.mappings.interface import Stack
from mhcdiag.measures.gain import Gains, identity_gains, measure_gains
from mhcdiag.results.gain import Bound, Curve, Definition, Direction, GainResult, Kind, WorstSpan
from mhcdiag.results.numbers import Number, is_finite, log10_of

UNBOUNDED = Bound(single=None, prefix=None, suffix=None, worst=None, why="nothing bounds it")


@dataclass(frozen=True)
class Maps:
    """Mappings of a stack, [site, target, source, token]."""

    stack: Stack
    maps: torch.Tensor

    @property
    def tokens(self) -> int:
        return self.maps.shape[-1]

    def chunk(self, start: int, stop: int, *, device: str = "cpu") -> torch.Tensor:
        return self.maps[..., start:stop]


def stack_of(sites: int, streams: int = 3) -> Stack:
    names = tuple(f"{i // 2}.{'ffn' if i % 2 else 'attn'}" for i in range(sites))
    return Stack(sites=names, tensors=tuple(f"layers.{name}.h_res" for name in names), streams=streams)


def measured(maps: torch.Tensor, *, path: str = "maps.safetensors", exact_side: Direction | None = None) -> GainResult:
    """The record that measuring mappings [site, target, source, token] gives."""
    stack = stack_of(maps.shape[0], maps.shape[1])
    gains = measure_gains(Maps(stack, maps.double()), exact_side=exact_side)
    return _record(stack, gains, path=path, layout="captured")


def identity(sites: int, *, path: str = "plain.safetensors") -> GainResult:
    return _record(stack_of(sites), identity_gains(stack_of(sites)), path=path, layout="identity")


def by_hand(composite: Sequence[Number], *, single: Sequence[Number] | None = None, path: str = "hand") -> GainResult:
    """A record whose every curve is given: `composite` for prefix, its reverse for suffix, ones for single sites."""
    result = identity(len(composite), path=path)
    curves: dict[Kind, Curve] = {
        Kind.SINGLE: tuple(single or [1.0] * len(composite)),
        Kind.PREFIX: tuple(composite),
        Kind.SUFFIX: tuple(reversed(composite)),
    }
    worst = max(composite, key=lambda number: log10_of(number) if is_finite(number) else math.inf)
    span = WorstSpan(value=worst, from_site=result.sites[0], to_site=result.sites[list(composite).index(worst)])
    return replace(
        result,
        layout="captured",
        gain={key: curves[key[0]] for key in result.gain},
        worst={(direction, definition): span for direction in Direction for definition in Definition},
    )


def hc(sites: int = 60, *, streams: int = 4, tokens: int = 17, spread: float = 0.1, seed: int = 0) -> torch.Tensor:
    """Unconstrained mappings I + spread * Gaussian, [site, target, source, token]."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(sites, streams, streams, tokens, generator=generator, dtype=torch.float64)
    return torch.eye(streams, dtype=torch.float64)[None, :, :, None] + spread * noise


def mhc(sites: int = 60, *, streams: int = 4, tokens: int = 17, seed: int = 0) -> torch.Tensor:
    """Mappings after a few Sinkhorn iterations, columns last; the rows stay a little off."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(sites, streams, streams, tokens, generator=generator, dtype=torch.float64)
    maps = (logits + 3 * torch.eye(streams, dtype=torch.float64)[None, :, :, None]).exp()
    for _ in range(7):
        maps = maps / maps.sum(dim=1, keepdim=True)
        maps = maps / maps.sum(dim=2, keepdim=True)
    return maps


def _record(stack: Stack, gains: Gains, *, path: str, layout: str) -> GainResult:
    return GainResult(
        path=path,
        layout=layout,
        model="",
        streams=stack.streams,
        sites=stack.sites,
        tensors=stack.tensors,
        inputs="static" if layout == "identity" else "captured",
        tokens=gains.tokens,
        span_tokens=gains.span_tokens,
        dtype="float64",
        device="cpu",
        kernel="torch",
        bytes_read=0,
        bytes_total=0,
        assumed=(),
        skipped=(),
        excluded=(),
        notes=(),
        nonfinite=(),
        gain=gains.curves,
        worst=gains.worst,
        spans=gains.spans,
        bound=dict.fromkeys(Direction, UNBOUNDED),
        sinkhorn=gains.sinkhorn,
        mean_mappings=gains.mean_mappings,
        mean_composite=gains.mean_composite,
    )
