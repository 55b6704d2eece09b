"""What a run of a model on tokens gives, whatever the model."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mhcdiag.livepasses.stacks import LiveStack
from mhcdiag.mappings.interface import Stack
from mhcdiag.results.verdict import Skipped
from mhcdiag.results.wording import counted


@dataclass(frozen=True, kw_only=True, slots=True)
class RunMaps:
    """Mappings that a model formed, in memory: a `MapSource`."""

    stack: Stack
    maps: Float[Tensor, "site stream stream token"]

    @property
    def tokens(self) -> int:
        """Number of tokens."""
        return self.maps.shape[-1]

    def chunk(self, start: int, stop: int, *, device: str = "cpu") -> Float[Tensor, "site stream stream token"]:
        """H_res of tokens start..stop-1."""
        return self.maps[..., start:stop].to(device)


@dataclass(frozen=True, kw_only=True, slots=True)
class TextRun:
    """What a model did on a text."""

    sites: tuple[str, ...]
    """Calls of sites in the order in which they ran, as `LiveStack.sites` calls them."""
    maps: Float[Tensor, "site stream stream token"]
    first_tokens: tuple[int, ...]
    """Positions of the tokens that begin a sequence."""
    is_finest: bool = False
    """Whether some sites mix parts of streams, so that `maps` are of parts."""
    assumed: tuple[str, ...] = ()
    """What the checkpoint did not say of how it runs."""
    notes: tuple[str, ...] = ()
    """What a reader must know of the run."""
    skipped: tuple[Skipped, ...] = ()
    """Sites that did not run."""


def maps_of(stack: LiveStack) -> Float[Tensor, "site stream stream token"]:
    """The mappings of all calls of a stack, on the CPU; float64 stays, everything else becomes float32."""
    each = [stack.maps(call).cpu() for call in stack.calls]
    wide = torch.float64 if any(maps.dtype == torch.float64 for maps in each) else torch.float32
    return torch.stack([maps.to(wide) for maps in each]).permute(0, 2, 3, 1)


def skipped_of(idle: tuple[str, ...]) -> tuple[Skipped, ...]:
    """What to say of sites that did not run."""
    return tuple(Skipped(what=site, reason="it did not run on the text") for site in idle)


LEAST_DIFFERENT = 10
"""Different tokens without which a text is no sample: gains are heavy-tailed over tokens, and one line repeated a
hundred times shows a few of them. Ordinary text has hundreds among 1024 tokens, and some 50 characters."""


def skipped_tokens(ids: Tensor) -> tuple[Skipped, ...]:
    """What to say of a text of few different tokens; nothing of others."""
    different = len(set(ids.flatten().tolist()))
    if different >= LEAST_DIFFERENT:
        return ()
    reason = f"{counted(different, 'different token')} among {ids.numel()}: no sample of what the model reads"
    return (Skipped(what="all other tokens", reason=reason),)
