"""Deep stacks of `hyper_connections` wrappers with random weights, and the mixing that the wrappers perform.

Nothing here knows a formula of the package: a wrapper's mixing matrix is read off by pushing unit streams
through its `width_connection`, with the output of its norm held at what the real streams gave.
"""

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

VOCABULARY = 61
TOKENS = (2, 19)


def wrapper_class(kind: str) -> Callable[..., nn.Module]:
    """The package's wrapper class for a kind, with the kind's options set."""
    from functools import partial

    from hyper_connections import HyperConnections, mHC
    from hyper_connections.mHCv2 import mHC as mHCv2

    return {
        "hc": partial(HyperConnections, tanh=True),
        "hc_without_tanh": partial(HyperConnections, tanh=False),
        "hc_views": partial(HyperConnections, num_input_views=2),
        "mhc": mHC,
        "mhc_three_iterations": partial(mHC, sinkhorn_iters=3),
        "mhc_proposals": partial(mHC, num_dynamic_alpha_proposals=3),
        "mhc_v2": mHCv2,
        "mhc_v2_proposals": partial(mHCv2, num_dynamic_alpha_proposals=3),
        # Its maybe_mix_streams.weight mixes what the norm sees, not the residual streams.
        "mhc_v2_mixed_norm": partial(mHCv2, mix_streams_before_norm=True),
    }[kind]


class Branch(nn.Sequential):
    """A small MLP; several views of its input, stacked in front of the batch, are added up."""

    def __init__(self, dim: int):
        super().__init__(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.sum(0) if x.ndim == 4 else x)


class Block(nn.Module):
    """One transformer-like block with two wrapped branches, as user code names them."""

    def __init__(self, wrap: Callable[..., nn.Module], index: int, dim: int):
        super().__init__()
        # Declared in the wrong order: depth comes from what the names say, not from where they stand.
        self.ff = wrap(layer_index=2 * index + 1, branch=Branch(dim))
        self.attn = wrap(layer_index=2 * index, branch=Branch(dim))

    def forward(self, streams: torch.Tensor) -> torch.Tensor:
        return self.ff(self.attn(streams))


class Stack(nn.Module):
    """Token embedding, expanded into streams, then blocks with two sites each or plainly numbered sites."""

    def __init__(self, kind: str, *, sites: int, streams: int, dim: int, blocks: bool):
        super().__init__()
        from functools import partial

        self.streams = streams
        self.folded = not kind.startswith("mhc_v2")  # streams lie in the batch axis, but in mHCv2 before the features
        wrap = partial(wrapper_class(kind), streams, dim=dim)
        self.embedding = nn.Embedding(VOCABULARY, dim)
        self.layers = nn.ModuleList(
            Block(wrap, i, dim) if blocks else wrap(layer_index=i, branch=Branch(dim))
            for i in range(sites // 2 if blocks else sites)
        )

    def pack(self, streams: torch.Tensor) -> torch.Tensor:
        """[batch, token, stream, dim] as the wrappers expect it."""
        return streams.movedim(2, 1).flatten(0, 1) if self.folded else streams

    def unpack(self, streams: torch.Tensor) -> torch.Tensor:
        """The inverse of `pack`."""
        return streams.unflatten(0, (-1, self.streams)).movedim(1, 2) if self.folded else streams

    def wrappers(self) -> list[tuple[str, nn.Module]]:
        """The wrappers by path, in the order in which they run."""
        named: list[tuple[str, nn.Module]] = []
        for i, layer in enumerate(self.layers):
            if isinstance(layer, Block):
                named += [(f"layers.{i}.attn", layer.attn), (f"layers.{i}.ff", layer.ff)]
            else:
                named.append((f"layers.{i}", layer))
        return named

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        embedded = self.embedding(ids)
        streams = self.pack(embedded.unsqueeze(2).expand(-1, -1, self.streams, -1))
        for layer in self.layers:
            streams = layer(streams)
        return self.unpack(streams).sum(2)


def stack(kind: str, *, sites: int, streams: int, dim: int, blocks: bool = True, seed: int) -> Stack:
    """A stack with every parameter of its wrappers moved away from its default."""
    torch.manual_seed(seed)
    model = Stack(kind, sites=sites, streams=streams, dim=dim, blocks=blocks).eval()
    for _, wrapper in model.wrappers():
        randomise(wrapper)
    return model


@torch.no_grad()
def randomise(wrapper: nn.Module) -> None:
    """Draw all parameters but the branch's; the defaults make every wrapper of a kind alike and symmetric.

    The logits of constrained mappings are drawn so peaked that the Sinkhorn iteration stops before it
    converges: a converged mapping has gain 1 whatever it is, and would hide a wrong reading.
    """
    spread, scale = (0.3, 0.5) if hasattr(wrapper, "dynamic_alpha_scale") else (7.0, 4.0)
    for name, parameter in wrapper.named_parameters():
        noise = torch.randn(parameter.shape)
        if name.startswith("branch."):
            continue
        if name.endswith("_fn"):
            parameter.copy_(noise / math.sqrt(parameter.shape[-2] if parameter.ndim > 1 else len(parameter)))
        elif name.endswith("_scale"):
            parameter.copy_(scale * (0.7 + 0.6 * torch.rand(parameter.shape)))
        else:
            parameter.add_(spread * noise if name == "static_alpha" else 0.7 * noise)


def token_ids(seed: int) -> torch.Tensor:
    """Random token ids."""
    return torch.randint(VOCABULARY, TOKENS, generator=torch.Generator().manual_seed(seed))


@contextmanager
def norm_output(wrapper: nn.Module, *, replay: torch.Tensor | None = None) -> Iterator[list[torch.Tensor]]:
    """Record what the wrapper's norm returns, or make it return `replay`."""
    recorded: list[torch.Tensor] = []

    def hook(_module, _args, output):
        recorded.append(output)
        return replay

    handle = wrapper.norm.register_forward_hook(hook)
    try:
        yield recorded
    finally:
        handle.remove()


@torch.no_grad()
def mixing(model: Stack, wrapper: nn.Module, streams: torch.Tensor) -> np.ndarray:
    """H_res [token, n, n] that the wrapper applies to `streams` [batch, token, n, dim], n at most dim."""
    with norm_output(wrapper) as recorded:
        wrapper.width_connection(model.pack(streams))
    # Feature j of the probe is 1 in stream j alone, so that it leaves with column j of the matrix.
    probe = torch.zeros_like(streams)
    probe[..., range(model.streams), range(model.streams)] = 1
    with norm_output(wrapper, replay=recorded[0]):
        _, mixed, _ = wrapper.width_connection(model.pack(probe))
    return model.unpack(mixed).flatten(0, 1)[..., : model.streams].numpy()


@torch.no_grad()
def captured_streams(model: Stack, ids: torch.Tensor) -> list[torch.Tensor]:
    """The streams [batch, token, n, dim] that reach each wrapper in one forward pass on tokens."""
    found: list[torch.Tensor] = []
    hooks = [
        wrapper.register_forward_pre_hook(lambda _module, args: found.append(model.unpack(args[0])))
        for _, wrapper in model.wrappers()
    ]
    try:
        model(ids)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def captured_maps(model: Stack, ids: torch.Tensor) -> np.ndarray:
    """H_res [site, token, n, n] of one forward pass on tokens."""
    streams = captured_streams(model, ids)
    return np.stack([mixing(model, wrapper, x) for (_, wrapper), x in zip(model.wrappers(), streams, strict=True)])


def static_maps(model: Stack) -> np.ndarray:
    """H_res [site, 1, n, n] with the projection of the input set to zero inside each wrapper."""
    found = []
    for _, original in model.wrappers():
        wrapper = copy.deepcopy(original).double()
        nn.init.zeros_(wrapper.dynamic_alpha_fn)
        streams = torch.ones(1, 1, model.streams, wrapper.norm.gamma.numel(), dtype=torch.float64)
        found.append(mixing(model, wrapper, streams))
    return np.stack(found)


def gaussian_maps(model: Stack, *, sites: int, tokens: int, seed: int) -> np.ndarray:
    """H_res [site, token, n, n] of the first wrappers, their norms fed with independent standard Gaussian streams.

    A wrapper that mixes streams before its norm loses that step: the norm's input is what is Gaussian.
    """
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _, original in model.wrappers()[:sites]:
        wrapper = copy.deepcopy(original)
        if getattr(wrapper, "maybe_mix_streams", None) is not None:
            wrapper.maybe_mix_streams = None
        shape = (1, tokens, model.streams, wrapper.norm.gamma.numel())
        found.append(mixing(model, wrapper, torch.randn(shape, generator=generator)))
    return np.stack(found)
