"""What it takes to read the residual mappings of one implementation out of a running model.

Adding a family is one file here (or one entry in `mixer_outputs`, where a mixer returns its mapping) and one entry in
`READERS` (`livemaps/__init__.py`). A family is known by the names of its parameters, not by its class: its package need
not be installed, and models are copied into code of one's own. Hooks must leave the run as it is, bit for bit: they
change no output, draw no random number, and keep no reference to what they see.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mhcdiag.errors import SettingError


@dataclass(frozen=True, kw_only=True, slots=True)
class Formed:
    """What a site formed for some tokens."""

    h_res: Float[Tensor, "token stream stream"]
    """H_res in the convention x_new = H x."""
    post: Float[Tensor, "token stream"] | None = None
    """Weights with which the branch's output is written to the streams; None where they are no such vector."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteCall:
    """One call of one site. Nothing is computed before it is asked for, since most passes are not looked at.

    Where a site mixes fractions of the streams, each fraction of each stream counts as a stream: in the order stream 0
    fraction 0, stream 0 fraction 1, ...
    """

    tokens: int
    """Number of tokens of the call."""
    formed: Callable[[Tensor | None], Formed]
    """The mappings of the tokens at some positions; None takes all."""
    streams: Float[Tensor, "token stream width"] | None
    """x_in as the site was given it; None where it is not seen."""
    fractions: int = 1
    """Parts of each stream that are mixed on their own."""
    by_token: Callable[[Tensor], Tensor] | None = None
    """How whole streams outside of the site, as blocks hand them on, are read as `streams` is."""


Take = Callable[[Callable[[], SiteCall]], None]
"""What is called at every forward pass of one site, with what reads it; it never raises."""


class Hook:
    """A hook that a copied or pickled model does not take along: there it does nothing.

    A copy (an average of the weights, a teacher) would otherwise report its own passes, and a saved model hold
    whatever the hook refers to.
    """

    def __init__(self, catch: Callable[..., None]) -> None:
        self._catch = _untraced(catch)

    def __call__(self, *seen: Any) -> None:
        """What torch calls before or after a forward pass."""
        self._catch(*seen)

    def __reduce__(self) -> tuple[Callable[[], "Hook"], tuple[()]]:
        """How copies and pickles are made."""
        return _silent_hook, ()


def _untraced(catch: Callable[..., None]) -> Callable[..., None]:
    """Run as it is under torch.compile, which would otherwise compile the hook anew for every site and step.

    Only where the compiler is loaded already, as it is once `torch.compile` was called: loading it takes seconds.
    """
    if "torch._dynamo" not in sys.modules:
        return catch

    def call(*seen: Any) -> None:
        catch(*seen)

    disabled: Callable[..., None] = torch.compiler.disable(call)  # type: ignore[no-untyped-call]
    return disabled


def _silent_hook() -> Hook:
    return Hook(lambda *_: None)


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveReader:
    """One implementation family, seen from outside while it runs; one entry of `READERS`."""

    name: str
    """As it is shown to users."""
    knows: Callable[[nn.Module], bool]
    """Whether this module mixes streams in this family's way; asked for every module of a model."""
    trial: Callable[[nn.Module], str]
    """Why a module that is known by its names cannot be read; empty where it can. It runs none of the user's hooks,
    draws no random number and changes nothing."""
    attach: Callable[[nn.Module, Take], list[RemovableHandle]]
    """Hooks a module so that the function gets its mappings; hooks change nothing, draw nothing and keep nothing."""


def usable_maps(maps: object) -> Float[Tensor, "token stream stream"]:
    """Mappings [..., n, n] as one row of tokens, detached.

    Raises
    ------
    SettingError
        They are no square matrices of real numbers that are there to be read.
    """
    expected = "a dense floating-point tensor [..., n, n]: H_res of each token in the convention x_new = H x"
    if not isinstance(maps, Tensor):
        raise SettingError(f"H is {type(maps).__name__}; expected {expected}")
    found = f"H of shape {list(maps.shape)} and type {str(maps.dtype).removeprefix('torch.')}"
    if not maps.dtype.is_floating_point:
        raise SettingError(f"{found}; expected {expected}")
    if maps.layout is not torch.strided or maps.is_meta:
        kind = "on the meta device, without numbers" if maps.is_meta else str(maps.layout).removeprefix("torch.")
        raise SettingError(f"{found}, {kind}; expected {expected}")
    if maps.ndim < 2 or maps.shape[-1] != maps.shape[-2] or not maps.numel():
        raise SettingError(f"{found}; expected {expected}, of at least one token and one stream")
    return maps.detach().reshape(-1, *maps.shape[-2:])
