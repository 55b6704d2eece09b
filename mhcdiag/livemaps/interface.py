"""What it takes to read the residual mappings of one implementation out of a running model."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

Maps = Callable[[], Tensor]
"""Gives H_res of one forward pass of one site, detached: [..., stream, stream] in the convention x_new = H x.

It is computed when called, since most passes are not looked at.
"""
Take = Callable[[Maps], None]
"""What is told of every forward pass of one site."""


@runtime_checkable
class LiveReader(Protocol):
    """One implementation family, seen from outside while it runs."""

    @property
    def name(self) -> str:
        """As it is shown to users."""

    def knows(self, module: nn.Module) -> bool:
        """Whether this module mixes streams in this family's way."""

    def attach(self, module: nn.Module, take: Take) -> list[RemovableHandle]:
        """Hook a module so that `take` is told of its mappings; hooks change nothing, draw nothing and keep nothing."""
