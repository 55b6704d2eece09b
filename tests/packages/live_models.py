"""Models that run their sites in other ways than one after the other: loops, several stacks, the same one twice."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from hyper_connections import HyperConnections
from packages import lucidrains_stacks
from packages.lucidrains_stacks import Branch, mixing, randomise
from reference import reference
from torch import nn

STREAMS, WIDTH = 3, 11


def tower(seed: int, kind: str = "hc", sites: int = 6) -> lucidrains_stacks.Stack:
    return lucidrains_stacks.stack(kind, sites=sites, streams=STREAMS, dim=WIDTH, seed=seed).train()


class Looped(nn.Module):
    """Three blocks, the middle one run several times; between the runs the first streams may be added again."""

    def __init__(self, kind: str = "hc", *, times: int = 3, run: Callable = lambda layer, x: layer(x), inject=False):
        super().__init__()
        self.stack, self.times, self.run, self.inject = tower(0, kind), times, run, inject

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        stack = self.stack
        first = stack.pack(stack.embedding(ids).unsqueeze(2).expand(-1, -1, STREAMS, -1))
        streams = self.run(stack.layers[0], first)
        for _ in range(self.times):
            streams = self.run(stack.layers[1], streams + first if self.inject else streams)
        return stack.unpack(self.run(stack.layers[2], streams)).sum(2)


class Towers(nn.Module):
    """Two stacks of their own; the second may see shorter sequences."""

    def __init__(self, names: Sequence[str] = ("encoder", "decoder"), shorter: int | None = None):
        super().__init__()
        self.names, self.shorter = tuple(names), shorter
        for seed, name in enumerate(names):
            self.add_module(name, tower(seed))

    def inputs(self, ids: torch.Tensor) -> list[torch.Tensor]:
        return [ids, ids[:, : self.shorter]]

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        towers = (self.get_submodule(name) for name in self.names)
        return sum(each(part).mean() for each, part in zip(towers, self.inputs(ids), strict=True))


class Siamese(nn.Module):
    """One stack that runs on two inputs in each pass."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = tower(0)

    def forward(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return (self.encoder(one) * self.encoder(other)).mean()


class Chained(nn.Module):
    """Blocks in three lists that hand their streams on to each other."""

    def __init__(self, names: Sequence[str] = ("prelude", "core", "coda")):
        super().__init__()
        self.stack, self.names = tower(0), names
        layers, self.stack.layers = list(self.stack.layers), nn.ModuleList()
        for name, layer in zip(names, layers, strict=True):
            self.add_module(name, nn.ModuleList([layer]))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        streams = self.stack.pack(self.stack.embedding(ids).unsqueeze(2).expand(-1, -1, STREAMS, -1))
        for name in self.names:
            streams = self.get_submodule(name)[0](streams)
        return self.stack.unpack(streams).sum(2)


class Fractions(nn.Module):
    """Wrappers whose streams are mixed in parts (num_fracs), one after the other."""

    def __init__(self, fractions: Sequence[int], width: int = 12, wrap: Callable = HyperConnections):
        super().__init__()
        torch.manual_seed(3)
        self.embedding = nn.Embedding(lucidrains_stacks.VOCABULARY, width)
        self.layers = nn.ModuleList(
            wrap(STREAMS, dim=width, num_fracs=parts, layer_index=i, branch=Branch(width))
            for i, parts in enumerate(fractions)
        )
        for layer in self.layers:
            randomise(layer)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        streams = self.embedding(ids).unsqueeze(1).expand(-1, STREAMS, -1, -1).flatten(0, 1)
        for layer in self.layers:
            streams = layer(streams)
        return streams.unflatten(0, (-1, STREAMS)).sum(1)


def calls_of(stack: lucidrains_stacks.Stack, run: Callable[[], object]) -> np.ndarray:
    """H_res [call, token, n, n] of every call of every wrapper, in order."""
    calls: list[tuple[nn.Module, torch.Tensor]] = []
    wrappers = [module for module in stack.modules() if hasattr(module, "static_alpha")]
    hooks = [
        wrapper.register_forward_pre_hook(lambda module, args: calls.append((module, stack.unpack(args[0]).detach())))
        for wrapper in wrappers
    ]
    with torch.no_grad():
        run()
    for hook in hooks:
        hook.remove()
    return np.stack([mixing(stack, wrapper, streams) for wrapper, streams in calls])


def worst(maps: np.ndarray, direction: str = "forward") -> float:
    """The largest token mean over single, prefix and suffix products."""
    gain = reference(maps).gain
    return float(max(max(gain[kind, direction, "norm", "mean"]) for kind in ("single", "prefix", "suffix")))
