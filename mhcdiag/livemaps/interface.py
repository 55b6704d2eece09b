"""What it takes to read the residual mappings of one implementation out of a running model."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

Maps = Callable[[], Tensor]
"""Gives H_res of one forward pass of one site, detached: [..., stream, stream] in the convention x_new = H x.

It is computed when called, since most passes are not looked at.
"""
Take = Callable[[Maps], None]
"""What is told of every forward pass of one site."""


class Hook:
    """A forward hook that a copied or pickled model does not take along: there it does nothing.

    A copy (an average of the weights, a teacher) would otherwise tell of its own passes, and a saved model hold
    whatever the hook refers to.
    """

    def __init__(self, catch: Callable[..., None]) -> None:
        self._catch = catch

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> None:
        """What torch calls after a forward pass."""
        self._catch(module, inputs, output)

    def __reduce__(self) -> tuple[Callable[[], "Hook"], tuple[()]]:
        """How copies and pickles are made."""
        return _silent_hook, ()


def _silent_hook() -> Hook:
    return Hook(lambda *_: None)


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
