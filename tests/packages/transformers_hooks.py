"""What the modules of a `transformers` model compute: hooked on tokens, without input, and on random streams."""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from packages.transformers_models import VOCABULARY, Family, mixers

TOKENS = (2, 23)
"""Sequences and tokens per sequence of every forward pass."""


def token_ids(seed: int) -> torch.Tensor:
    """Random token ids that are not one of the special ones."""
    return torch.randint(3, VOCABULARY - 8, TOKENS, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def captured_maps(model: torch.nn.Module, family: Family, ids: torch.Tensor) -> np.ndarray:
    """H_res [site, token, n, n] of one forward pass on tokens, from what the mixers returned.

    The mixers return `comb`, which the decoder layer applies transposed (see `test_orientation.py`).
    """
    found: list[torch.Tensor] = []
    hooks = [
        mixer.register_forward_hook(lambda _module, _inputs, output: found.append(output[1]))
        for _, mixer in mixers(model, family)
    ]
    try:
        model(input_ids=ids, use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return np.stack([comb.flatten(0, 1).transpose(1, 2).float().numpy() for comb in found])


@torch.no_grad()
def static_maps(model: torch.nn.Module, family: Family) -> np.ndarray:
    """H_res [site, 1, n, n] in float64 without input-dependent part: the mixers' forward pass at fn = 0."""
    found = []
    for _, original in mixers(model, family):
        mixer = copy.deepcopy(original).double()
        mixer.fn.zero_()
        streams = torch.ones(1, 1, mixer.hc_mult, mixer.fn.shape[1] // mixer.hc_mult)
        found.append(mixer(streams)[1][0].transpose(1, 2).numpy())
    return np.stack(found)


@torch.no_grad()
def gaussian_maps(model: torch.nn.Module, *, family: Family, sites: int, tokens: int, seed: int) -> np.ndarray:
    """H_res [site, token, n, n] of the first mixers fed with independent standard Gaussian streams."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _, mixer in mixers(model, family)[:sites]:
        shape = (1, tokens, mixer.hc_mult, mixer.fn.shape[1] // mixer.hc_mult)
        found.append(mixer(torch.randn(shape, generator=generator))[1][0].transpose(1, 2).numpy())
    return np.stack(found)


@dataclass(frozen=True, kw_only=True)
class Push:
    """Random streams before and after each site of a model whose branches return zero."""

    before: np.ndarray
    """[site, token, n, C]."""
    after: np.ndarray
    """[site, token, n, C]."""
    mixer_outputs: list[object]
    """What the mixer of each site returned."""


@torch.no_grad()
def push_streams(model: torch.nn.Module, family: Family, *, streams: int, seed: int) -> Push:
    """Run the package's own decoder layers on random distinct streams, with every branch output set to zero.

    Each layer gets fresh streams, since a few mixings in a row leave all streams alike and H x = H^T x.
    """
    generator = torch.Generator().manual_seed(seed)
    inputs: list[torch.Tensor] = []
    outputs: list[object] = []
    ends: list[torch.Tensor] = []

    def fresh(_module, args, kwargs):
        given = args[0] if args else kwargs["hidden_states"]
        random = torch.randn(given.shape, generator=generator).to(given.dtype)
        return ((random, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": random})

    def silence(_module, _args, output):
        return (torch.zeros_like(output[0]), *output[1:]) if isinstance(output, tuple) else torch.zeros_like(output)

    def watch(_module, args, output):
        inputs.append(args[0])
        outputs.append(output)

    def end(_module, _args, output):
        ends.append(output[0] if isinstance(output, tuple) else output)

    hooks = []
    for layer in model.get_submodule(family.layers):
        attention = next(getattr(layer, name) for name in family.branches[0] if hasattr(layer, name))
        hooks.append(layer.register_forward_pre_hook(fresh, with_kwargs=True))
        hooks.append(layer.register_forward_hook(end))
        hooks += [branch.register_forward_hook(silence) for branch in (attention, getattr(layer, family.branches[1]))]
        hooks += [getattr(layer, name).register_forward_hook(watch) for name in family.mixers]
    try:
        model(input_ids=token_ids(seed), use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    # The streams after a layer's first site are those that its second mixer reads.
    after = [ends[i // 2] if i % 2 else inputs[i + 1] for i in range(len(inputs))]
    tokens = TOKENS[0] * TOKENS[1]

    def numbers(tensors: list[torch.Tensor]) -> np.ndarray:
        return np.stack([t.float().reshape(tokens, streams, -1).numpy() for t in tensors])

    return Push(before=numbers(inputs), after=numbers(after), mixer_outputs=outputs)
