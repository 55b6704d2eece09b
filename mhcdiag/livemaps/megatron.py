"""Megatron's `HyperConnectionModule`: returns (aggregated, h_res, h_post), h_res with target rows."""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mhcdiag.livemaps.interface import Hook, Take


@dataclass(frozen=True, slots=True)
class Megatron:
    """See `LiveReader`."""

    name: ClassVar[str] = "megatron"

    def knows(self, module: nn.Module) -> bool:
        """See `LiveReader`."""
        return all(hasattr(module, name) for name in ("mapping_proj", "alpha_res", "bias"))

    def attach(self, module: nn.Module, take: Take) -> list[RemovableHandle]:
        """See `LiveReader`."""

        def catch(_module: nn.Module, _inputs: Any, output: tuple[Tensor, ...]) -> None:
            take(output[1].detach)

        return [module.register_forward_hook(Hook(catch))]
