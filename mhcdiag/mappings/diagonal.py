"""Composites of factors on one residual stream: H = diag(s), s one number for all channels or one for each.

The product of diagonal matrices is diagonal, so that its gain, forward and backward, in both definitions, is the
largest |product| over channels. Products are sums of logarithms: 300 factors of 20 overflow a float64.
"""

from dataclasses import dataclass
from math import nan

import torch
from jaxtyping import Float
from torch import Tensor

from mhcdiag.results.gain import Curve
from mhcdiag.results.numbers import Number, from_log2

SiteFactors = Float[Tensor, "site channel"]
"""Factors on the stream, site by site; one channel where a factor is the same for all of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DiagonalGains:
    """Gains of all composites."""

    single: Curve
    """Per site."""
    prefix: Curve
    """Of sites 1 to l, per site l."""
    suffix: Curve
    """Of sites l to the last, per site l."""
    spans: tuple[Curve, ...]
    """Row a, entry b: of sites a to b; NaN below the diagonal."""


def diagonal_gains(factors: SiteFactors) -> DiagonalGains:
    """The largest |product of factors| over channels, of every stretch of sites."""
    logs = factors.double().abs().log2()
    spans = []
    for first in range(len(logs)):
        # A column at a time would keep memory at one row; a model has a few hundred sites of some thousand channels.
        reached = logs[first:].cumsum(dim=0).amax(dim=1)
        spans.append((nan,) * first + tuple(from_log2(each) for each in reached.tolist()))
    return DiagonalGains(
        single=tuple(row[site] for site, row in enumerate(spans)),
        prefix=spans[0],
        suffix=tuple(row[-1] for row in spans),
        spans=tuple(spans),
    )


def channel_range(factors: SiteFactors) -> tuple[Number, Number]:
    """The smallest and the largest |product of all factors| among the channels."""
    total = factors.double().abs().log2().sum(dim=0)
    return from_log2(float(total.min())), from_log2(float(total.max()))


def worst_channel(factors: SiteFactors) -> Float[Tensor, "site 1"]:
    """The factors of the channel that grows most over any stretch of sites."""
    logs = factors.double().abs().log2()
    best = torch.full_like(logs[0], -torch.inf)
    here = torch.full_like(logs[0], -torch.inf)
    for of_site in logs:
        here = torch.maximum(here + of_site, of_site)  # the largest sum of a stretch that ends here
        best = torch.maximum(best, here)
    return factors[:, int(best.argmax()) : int(best.argmax()) + 1]
