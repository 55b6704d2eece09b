"""Families whose mixers return their mapping: it is taken from the output of the module."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mhcdiag.livemaps.interface import Hook, LiveReader, Maps, Take


def _taking(maps_of: Callable[[tuple[Tensor, ...]], Maps]) -> Callable[[nn.Module, Take], list[RemovableHandle]]:
    """Return what attaches a hook that takes the mapping from an output."""

    def attach(module: nn.Module, take: Take) -> list[RemovableHandle]:
        def catch(_module: nn.Module, _inputs: Any, output: tuple[Tensor, ...]) -> None:
            take(maps_of(output))

        return [module.register_forward_hook(Hook(catch))]

    return attach


def _transformers_maps(output: tuple[Tensor, ...]) -> Maps:
    # (post, comb, collapsed): their decoder layers apply comb transposed, so that its rows are the source streams.
    return lambda: output[1].detach().transpose(-1, -2)


def _is_transformers_mixer(module: nn.Module) -> bool:
    # By parameters and options, since every family names its own class (DeepseekV4..., Glm5Next...).
    return all(hasattr(module, name) for name in ("fn", "base", "scale", "hc_mult", "hc_sinkhorn_iters"))


TRANSFORMERS = LiveReader(name="transformers", knows=_is_transformers_mixer, attach=_taking(_transformers_maps))
"""deepseek_v4 and glm5_next of transformers."""


def _megatron_maps(output: tuple[Tensor, ...]) -> Maps:
    return output[1].detach


def _is_megatron_mixer(module: nn.Module) -> bool:
    return all(hasattr(module, name) for name in ("mapping_proj", "alpha_res", "bias"))


MEGATRON = LiveReader(name="megatron", knows=_is_megatron_mixer, attach=_taking(_megatron_maps))
"""Modules in the style of Megatron-LM, which apply the second output as it is."""
