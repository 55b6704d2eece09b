"""Manifold-constrained hyper-connections, mHC (arXiv 2512.24880, equations 7 to 9).

All streams together are RMS-normalised as one vector z of n C numbers; then H_pre = sigmoid(alpha_pre phi_pre z +
b_pre), H_post = 2 sigmoid(...), and H_res = Sinkhorn(alpha_res mat(phi_res z) + b_res), mat row by row, row = target.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from mhcdiag.kernels.sinkhorn.interface import ROWS, SinkhornRule
from mhcdiag.kernels.sinkhorn.normalise import sinkhorn
from mhcdiag.toy.settings import ToySettings
from mhcdiag.toy.topologies.interface import RMS_EPS, Packed, SiteMaps, Streams, one_hot_by_site

OF_A_RUN = 1 << 40
"""Matrices that a training normalises, as far as `sinkhorn` cares: compiling always pays."""
ALPHA_START = 0.01
PHI_DEVIATION = 0.02
DIAGONAL_START = 4.0
"""Of b_res: 20 iterations then leave 0.948 on the diagonal of four streams."""
READ_START = 2.0
"""Of b_pre, with both signs: sigmoid gives 0.88 for the stream that a site reads, 0.12 for the others."""


def flattened_logits(streams: Streams, weight: Tensor, alpha: Tensor, base: Tensor) -> Tensor:
    """Logits alpha W norm(vec(x)) + b, as [row, token]: tokens last, as the Sinkhorn kernels want them."""
    vector = streams.flatten(1)
    scale = torch.rsqrt(vector.square().mean(dim=-1) + RMS_EPS)
    return torch.addcmul(base, (weight @ vector.T) * scale, alpha)


def shared_start(settings: ToySettings, generator: Generator, *, mixing: int) -> dict[str, Tensor]:
    """Initial parameters of mHC and its kin, all but the bias of the mixing.

    Parameters
    ----------
    mixing
        Number of logits behind H_res of a site.
    """
    sites, streams = 2 * settings.depth, settings.streams
    inputs = streams * settings.width
    rows = {"pre": streams, "post": streams, "res": mixing}
    found = {
        f"phi_{role}": PHI_DEVIATION * torch.randn(sites, count, inputs, generator=generator)
        for role, count in rows.items()
    }
    found |= {f"alpha_{role}": torch.full((sites,), ALPHA_START) for role in rows}
    found["b_pre"] = READ_START * (2 * one_hot_by_site(sites, streams) - 1)
    found["b_post"] = torch.zeros(sites, streams)
    return found


def pack_rows(parameters: dict[str, Tensor]) -> Packed:
    """Weights, factors and biases of all sites, rows in the order pre, post, res."""
    roles = ("pre", "post", "res")
    weight = torch.cat([parameters[f"phi_{role}"] for role in roles], dim=1)
    alpha = [parameters[f"alpha_{role}"][:, None].expand(-1, parameters[f"phi_{role}"].shape[1]) for role in roles]
    base = [parameters[f"b_{role}"].flatten(1) for role in roles]
    return weight, torch.cat(alpha, dim=1).unsqueeze(-1), torch.cat(base, dim=1).unsqueeze(-1)


@dataclass(frozen=True, slots=True)
class Manifold:
    """mHC with Sinkhorn-Knopp iterations."""

    name: ClassVar[str] = "mhc"
    streams_mix: ClassVar[bool] = True
    iterations: int = 20

    def streams(self, settings: ToySettings) -> int:
        """See `Topology`."""
        return settings.streams

    def initial(self, settings: ToySettings, generator: Generator) -> dict[str, Tensor]:
        """See `Topology`."""
        found = shared_start(settings, generator, mixing=settings.streams**2)
        found["b_res"] = DIAGONAL_START * torch.eye(settings.streams).repeat(2 * settings.depth, 1, 1)
        return found

    def pack(self, parameters: dict[str, Tensor]) -> Packed:
        """See `Topology`."""
        return pack_rows(parameters)

    def maps(self, streams: Streams, packed: Packed) -> SiteMaps:
        """See `Topology`."""
        count = streams.shape[1]
        logits = flattened_logits(streams, *packed)
        # Rows come last, so that forward sums are 1: DeepSeek-V4's released iteration, on the transpose of its matrix.
        rule = SinkhornRule(iterations=self.iterations, first=ROWS)
        res = sinkhorn(logits[2 * count :].view(count, count, -1), rule, matrices=OF_A_RUN)
        weights = logits[: 2 * count].sigmoid().T
        return SiteMaps(pre=weights[:, :count], post=2 * weights[:, count:], res=res.permute(2, 0, 1).contiguous())


MHC = Manifold()
