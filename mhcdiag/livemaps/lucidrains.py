"""The package `hyper-connections`: mappings are recomputed from what a wrapper's norm returned.

Its wrappers form them inside a method and return none of them. Their own constraint and activation are called, so that
a wrapper with another one is read as it is.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mhcdiag.livemaps.interface import Hook, LiveReader, Take


@torch.no_grad()
def _mapping(module: Any, normed: Tensor) -> Tensor:
    """H_res of one wrapper for the normalised input of its width connection."""
    streams = module.num_residual_streams
    if streams > 1 and normed.shape[-2] == 1:
        normed = normed.squeeze(-2)  # mHCv2 keeps an axis of fractions, of which there is one
    static = module.static_alpha[..., -streams:].float()
    projection = module.dynamic_alpha_fn[..., -streams:].float()
    if hasattr(module, "dynamic_alpha_scale"):  # unconstrained hyper-connections
        dynamic = module.act(normed.float() @ projection) * module.dynamic_alpha_scale.float()
        return cast(Tensor, (dynamic + static).transpose(-1, -2))
    # mHC: the mean of several proposals, each constrained by itself.
    logits = torch.stack([normed.float() @ proposal for proposal in projection])
    constrained = module.residual_mix_constraint_fn(logits * module.residual_scale.float() + static)
    return cast(Tensor, constrained.mean(dim=0).transpose(-1, -2))


def _knows(module: nn.Module) -> bool:
    # Wrappers with fractions are left out, since they mix parts of streams and not streams.
    needed = ("static_alpha", "dynamic_alpha_fn", "norm", "num_residual_streams")
    return all(hasattr(module, name) for name in needed) and getattr(module, "num_fracs", 1) == 1


def _attach(module: nn.Module, take: Take) -> list[RemovableHandle]:
    # The wrapper's own output has the branch added already; what its norm returns is all that the mapping depends on.
    norm = module.get_submodule("norm")

    def catch(_norm: nn.Module, _inputs: Any, normed: Tensor) -> None:
        take(lambda: _mapping(module, normed.detach()))

    return [norm.register_forward_hook(Hook(catch))]


LUCIDRAINS = LiveReader(name="hyper-connections", knows=_knows, attach=_attach)
"""Wrappers of the package hyper-connections (lucidrains), HC, mHC and mHCv2."""


def _silence(_module: nn.Module, _inputs: Any, output: Any) -> Any:
    first, *others = output if isinstance(output, tuple) else (output,)
    silent = torch.zeros_like(first)
    return (silent, *others) if isinstance(output, tuple) else silent


def apply_wrapper(module: nn.Module, streams: Tensor) -> Tensor:
    """Streams [token, n, C] through one wrapper, by its own forward pass with a branch that returns zeros."""
    wrapper = cast(Any, module)
    folded = getattr(wrapper, "static_beta", streams).ndim < 3  # mHCv2 keeps streams before the features
    packed = streams.flatten(0, 1).unsqueeze(1) if folded else streams.unsqueeze(1)
    if wrapper.branch is None:
        branch_input, add_residual = wrapper(packed)
        after = add_residual(torch.zeros_like(branch_input))
    else:
        handle = wrapper.branch.register_forward_hook(_silence)
        try:
            after = wrapper(packed)
        finally:
            handle.remove()
    return cast(Tensor, after.reshape(streams.shape))
