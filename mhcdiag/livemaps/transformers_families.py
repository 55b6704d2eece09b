"""deepseek_v4 and glm5_next of transformers: mixers that return (post, comb, collapsed), comb applied transposed."""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mhcdiag.livemaps.interface import Hook, Take


@dataclass(frozen=True, slots=True)
class TransformersFamilies:
    """See `LiveReader`."""

    name: ClassVar[str] = "transformers"

    def knows(self, module: nn.Module) -> bool:
        """See `LiveReader`: told by parameters and options, since every family names its own class."""
        return all(hasattr(module, name) for name in ("fn", "base", "scale", "hc_mult", "hc_sinkhorn_iters"))

    def attach(self, module: nn.Module, take: Take) -> list[RemovableHandle]:
        """See `LiveReader`."""

        def catch(_module: nn.Module, _inputs: Any, output: tuple[Tensor, ...]) -> None:
            take(lambda: output[1].detach().transpose(-1, -2))

        return [module.register_forward_hook(Hook(catch))]


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
