"""Small transformers on the package `hyper-connections`, for the study of inputs: not our code, norm or start.

Unlike the toy's, their dynamic part starts at zero, the norm has weights, streams may start apart (`add_stream_embed`),
and the input-dependent part may be without tanh.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from hyper_connections import HyperConnections, get_init_and_expand_reduce_stream_functions
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from mhcdiag.toy.text import load_text

BATCH, CONTEXT, WARMUP = 4, 32, 20


@dataclass(frozen=True, kw_only=True, slots=True)
class PackageSettings:
    """One run."""

    depth: int
    """Blocks; two sites each."""
    width: int
    """Features C."""
    steps: int
    """Optimiser steps."""
    learning_rate: float
    """Constant after a short warmup."""
    seed: int
    """Of parameters and batches."""
    text: str
    """Text file."""
    streams: int = 4
    """Residual streams n."""
    tanh: bool = True
    """Whether the input-dependent part is squashed."""
    stream_embed: bool = False
    """Whether the streams start with vectors of their own beside the embedding."""
    checkpoints: int = 8
    """Evenly spaced."""


class Attention(nn.Module):
    """Causal, two heads, behind a LayerNorm."""

    def __init__(self, width: int, closing: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.out.weight.data *= closing

    def forward(self, x: Tensor) -> Tensor:
        """What attention adds."""
        batch, length, width = x.shape
        parts = self.qkv(self.norm(x)).view(batch, length, 3, 2, width // 2).permute(2, 0, 3, 1, 4).unbind()
        mixed = functional.scaled_dot_product_attention(*parts, is_causal=True)
        added: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        return added


class FeedForward(nn.Sequential):
    """Two matrices with GELU between them, behind a LayerNorm."""

    def __init__(self, width: int, closing: float) -> None:
        super().__init__(nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self[3].weight.data *= closing


class Model(nn.Module):
    """A character model over the package's streams."""

    def __init__(self, settings: PackageSettings, vocabulary: int) -> None:
        super().__init__()
        width, closing = settings.width, (2 * settings.depth) ** -0.5
        connect, self.expand, self.reduce = get_init_and_expand_reduce_stream_functions(
            settings.streams, dim=width, add_stream_embed=settings.stream_embed
        )
        self.embedding, self.position = nn.Embedding(vocabulary, width), nn.Embedding(CONTEXT, width)
        self.layers = nn.ModuleList(
            connect(branch=kind(width, closing), layer_index=2 * block + second, tanh=settings.tanh)
            for block in range(settings.depth)
            for second, kind in enumerate((Attention, FeedForward))
        )
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Predictions."""
        x = self.expand(self.embedding(tokens) + self.position.weight[: tokens.shape[1]])
        for layer in self.layers:
            x = layer(x)
        predicted: Tensor = self.head(self.norm(self.reduce(x)))
        return predicted


def train_package(settings: PackageSettings, folder: Path) -> None:
    """Train one model; its checkpoints and captured mappings are named as those of the toy."""
    (folder / "captured").mkdir(parents=True, exist_ok=True)
    torch.manual_seed(settings.seed)
    corpus = load_text(settings.text, context=CONTEXT)
    model = Model(settings, corpus.size)
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, betas=(0.9, 0.95), weight_decay=0.0)
    every = settings.steps // settings.checkpoints
    probe = corpus.probe(seed=settings.seed, sequences=BATCH, length=CONTEXT)[:, :-1]
    for step in range(1, settings.steps + 1):
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * min(1.0, step / WARMUP)
        batch = corpus.batch(seed=settings.seed, step=step, sequences=BATCH, length=CONTEXT)
        loss = functional.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if step % every == 0:
            name = f"step_{step:06d}.safetensors"
            save_file({key: value.contiguous() for key, value in model.state_dict().items()}, folder / name)
            save_file(
                captured(model, probe),
                folder / "captured" / name,
                metadata={"first_tokens": json.dumps(list(range(0, BATCH * CONTEXT, CONTEXT)))},
            )


@torch.no_grad()
def captured(model: Model, tokens: Tensor) -> dict[str, Tensor]:
    """H_res of every site and token, [token, target, source], computed as the package's `width_connection` does."""
    found: dict[str, Tensor] = {}

    def keep(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(module, HyperConnections)
        n = module.num_residual_streams
        x = inputs[0].view(-1, n, *inputs[0].shape[1:])  # the package folds streams into the batch: (b s) ...
        alpha = module.act(module.norm(x) @ module.dynamic_alpha_fn) * module.dynamic_alpha_scale
        alpha = alpha + module.static_alpha[:, None]
        # [batch, source, position, target] with the branch's view first
        found[f"layers.{len(found)}.h_res"] = alpha[..., 1:].permute(0, 2, 3, 1).flatten(0, 1).contiguous()

    hooks = [layer.register_forward_pre_hook(keep) for layer in model.layers]
    model(tokens)
    for hook in hooks:
        hook.remove()
    return found
