"""One call of one site of a running model, as much of it as is kept."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mhcdiag.livemaps.interface import SiteCall


@dataclass(kw_only=True, slots=True)
class Call:
    """One call of one site; a site that runs three times has three."""

    site: str
    """Path of the module, or the name that was handed over with the mapping."""
    maps: Float[Tensor, "token stream stream"]
    """H_res of the tokens that are kept, on the device where it was computed."""
    tokens: int
    """Tokens of the pass."""
    fractions: int = 1
    """Parts of each stream that are mixed on their own; each counts as a stream in `maps`."""
    stack: str | None = None
    """The stack that it belongs to where somebody said so; None where that is to be found out."""
    entry: Float[Tensor, " number"] | None = None
    """Mark of the streams that entered (`mark_of`); None where they were not seen."""
    copies: Bool[Tensor, ""] | None = None
    """Whether all streams of every token entered as copies of one vector, as at the start of a stack."""
    exits: list[Float[Tensor, " number"]] = field(default_factory=list)
    """Marks of what modules returned after this call and before the next, where it has as many numbers as the streams:
    streams that left."""
    numbers: int = 0
    """How many numbers the streams have; 0 where they were not seen."""
    x_in: Float[Tensor, "token stream width"] | None = None
    """Streams before the site, of the first tokens, where they were asked for."""
    post: Float[Tensor, "token stream"] | None = None
    """Weights with which the branch is written back, of the same tokens."""
    branch: Float[Tensor, "token width"] | None = None
    """What the branch returned, of the same tokens."""
    x_out: Float[Tensor, "token stream width"] | None = None
    """Streams after the site, of the same tokens."""
    by_token: Callable[[Tensor], Tensor] | None = None
    """How streams that leave the site's module are read as `x_in` is."""

    @property
    def streams(self) -> int:
        """Number of residual streams, fractions not counted."""
        return self.maps.shape[-1] // self.fractions

    def streams_of(self, left: Tensor) -> Float[Tensor, "token stream width"] | None:
        """As many tokens as `x_in` has of streams that left a module; None where they cannot be read like those."""
        if self.x_in is None or self.by_token is None:
            return None
        found = self.by_token(left.detach())
        return found[: len(self.x_in)].clone() if found.shape[1:] == self.x_in.shape[1:] else None


def mark_of(streams: Tensor) -> Float[Tensor, " number"]:
    """What tells one tensor of streams from another, however its axes lie: largest and smallest number, and the norm.

    The first two are the same to the last bit for the same numbers; the norm depends on the order of its sum.
    """
    numbers = streams.detach()
    wide = torch.float64 if numbers.dtype == torch.float64 else torch.float32
    edges = torch.stack(torch.aminmax(numbers))
    return torch.cat([edges.to(wide), torch.linalg.vector_norm(numbers, dtype=wide)[None]])


SAME_NORM = 1e-4
"""Relative difference of two norms that is one of the order of summation: float32 over 1e8 numbers stays below 1e-5."""


def same_streams(one: list[float], other: list[float]) -> bool:
    """Whether two marks are those of the same numbers."""
    return one[:2] == other[:2] and abs(one[2] - other[2]) <= SAME_NORM * max(abs(one[2]), abs(other[2]))


def call_of(site: str, seen: SiteCall, places: Tensor | None, *, first: int = 0) -> Call:
    """What is kept of one call.

    Parameters
    ----------
    site
        Its path.
    seen
        The call.
    places
        Positions of the tokens whose mappings are kept; None keeps all.
    first
        How many of the first tokens to keep streams and post weights of.
    """
    formed = seen.formed(places)
    maps = formed.h_res.detach()
    # The model may overwrite its own; a selection is a copy already.
    maps = maps.clone() if places is None else maps
    call = Call(site=site, maps=maps, tokens=seen.tokens, fractions=seen.fractions)
    if seen.streams is None or not seen.streams.numel():
        return call
    call.entry = mark_of(seen.streams)
    call.numbers = seen.streams.numel()
    tokens, parts, width = seen.streams.shape
    whole = seen.streams.reshape(tokens, parts // seen.fractions, seen.fractions * width)
    call.copies = (whole == whole[:, :1]).all()
    if first:
        call.x_in, call.by_token = seen.streams[:first].detach().clone(), seen.by_token
        call.post = formed.post[:first].detach().clone() if formed.post is not None and places is None else None
    return call
