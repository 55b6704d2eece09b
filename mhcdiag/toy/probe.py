"""What the streams do on the held-out batch: mappings, gains, sizes."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mhcdiag.kernels.composite.products import gains, prefixes
from mhcdiag.results.gain import Definition, Direction
from mhcdiag.toy.model import SiteRecord, ToyModel


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """Numbers of one forward pass on the held-out batch."""

    gain_forward: float
    """Of the whole model: amax, token mean."""
    gain_backward: float
    """The same over columns."""
    stream_rms: float
    """Root mean square behind the last site."""
    stream_max: float
    """Largest absolute value behind any site."""


@torch.no_grad()
def forward_pass(model: ToyModel, tokens: Int[Tensor, "batch position"]) -> list[SiteRecord]:
    """What passed each site, in depth order."""
    record: list[SiteRecord] = []
    model.logits(tokens, record=record)
    return record


def stacked_maps(record: list[SiteRecord]) -> Float[Tensor, "site stream stream token"] | None:
    """H_res of all sites, tokens last; None where nothing is mixed."""
    found = [site.maps.res for site in record if site.maps is not None and site.maps.res is not None]
    return torch.stack(found).permute(0, 2, 3, 1) if found else None


def measure(model: ToyModel, tokens: Int[Tensor, "batch position"]) -> Probe:
    """Gains and sizes; gains are 1 by construction where nothing is mixed.

    Arguments: model: as it stands; tokens: the held-out batch.
    """
    record = forward_pass(model, tokens)
    maps = stacked_maps(record)
    forward = backward = 1.0
    if maps is not None:
        whole = gains(prefixes(maps.double().contiguous())[-1:])
        means = {key: float((gain.sum_tokens() / maps.shape[-1]).numbers()[0]) for key, gain in whole.items()}
        forward = means[Direction.FORWARD, Definition.AMAX]
        backward = means[Direction.BACKWARD, Definition.AMAX]
    return Probe(
        gain_forward=forward,
        gain_backward=backward,
        stream_rms=float(record[-1].after.double().square().mean().sqrt()),
        stream_max=max(float(site.after.abs().max()) for site in record),
    )
