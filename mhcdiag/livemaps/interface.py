"""What it takes to read the residual mappings of one implementation out of a running model.

Adding a family is one file here (or one entry in `mixer_outputs`, where a mixer returns its mapping) and one entry in
`READERS` (`livemaps/__init__.py`). A family is known by the names of its parameters, not by its class: its package need
not be installed, and models are copied into code of one's own. Hooks must leave the run as it is, bit for bit: they
change no output, draw no random number, and keep no reference to what they see.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

Maps = Callable[[], Tensor]
"""Gives H_res of one forward pass of one site, detached: [..., stream, stream] in the convention x_new = H x.

It is computed when called, since most passes are not looked at.
"""
Take = Callable[[Maps], None]
"""What is called at every forward pass of one site."""


class Hook:
    """A forward hook that a copied or pickled model does not take along: there it does nothing.

    A copy (an average of the weights, a teacher) would otherwise report its own passes, and a saved model hold
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


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveReader:
    """One implementation family, seen from outside while it runs; one entry of `READERS`."""

    name: str
    """As it is shown to users."""
    knows: Callable[[nn.Module], bool]
    """Whether this module mixes streams in this family's way; asked for every module of a model."""
    attach: Callable[[nn.Module, Take], list[RemovableHandle]]
    """Hooks a module so that the function gets its mappings; hooks change nothing, draw nothing and keep nothing."""
