"""Hyper-connections, unconstrained (arXiv 2409.19606; equation 5 of arXiv 2512.24880), with or without mixing.

Each stream s is RMS-normalised on its own, z_s; then H_pre[s] = alpha_pre tanh(theta_pre . z_s) + b_pre[s], H_post
alike, and H_res[t, s] = alpha_res tanh(theta_res[t] . z_s) + b_res[t, s]. At the start H_res is the identity, each site
reads one stream in turn, and writes to all with weight 1: the model is then the ordinary residual one.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from mhcdiag.toy.settings import ToySettings
from mhcdiag.toy.topologies.interface import RMS_EPS, Packed, SiteMaps, Streams, one_hot_by_site

ALPHA_START = 0.01
THETA_DEVIATION = 0.02


@dataclass(frozen=True, slots=True)
class Hyper:
    """Hyper-connections, or with `streams_mix` off the same without H_res: the control."""

    name: str
    streams_mix: bool

    def streams(self, settings: ToySettings) -> int:
        """See `Topology`."""
        return settings.streams

    def initial(self, settings: ToySettings, generator: Generator) -> dict[str, Tensor]:
        """See `Topology`."""
        sites, streams, width = 2 * settings.depth, settings.streams, settings.width
        rows = {"pre": 1, "post": 1, "res": streams}
        if not self.streams_mix:
            del rows["res"]
        found = {
            f"theta_{role}": THETA_DEVIATION * torch.randn(sites, count, width, generator=generator)
            for role, count in rows.items()
        }
        found |= {f"alpha_{role}": torch.full((sites,), ALPHA_START) for role in rows}
        found |= {"b_pre": one_hot_by_site(sites, streams), "b_post": torch.ones(sites, streams)}
        if self.streams_mix:
            found["b_res"] = torch.eye(streams).repeat(sites, 1, 1)
        return found

    def pack(self, parameters: dict[str, Tensor]) -> Packed:
        """See `Topology`; columns are pre, post, then the target streams of H_res."""
        roles = ("pre", "post", "res") if self.streams_mix else ("pre", "post")
        weight = torch.cat([parameters[f"theta_{role}"] for role in roles], dim=1)
        alpha = [
            parameters[f"alpha_{role}"][:, None].expand(-1, parameters[f"theta_{role}"].shape[1]) for role in roles
        ]
        base = [parameters["b_pre"].unsqueeze(-1), parameters["b_post"].unsqueeze(-1)]
        if self.streams_mix:
            base.append(parameters["b_res"].transpose(1, 2))
        return weight, torch.cat(alpha, dim=1), torch.cat(base, dim=2)

    def maps(self, streams: Streams, packed: Packed) -> SiteMaps:
        """See `Topology`."""
        weight, alpha, base = packed
        normalised = streams * torch.rsqrt(streams.square().mean(dim=-1, keepdim=True) + RMS_EPS)
        mappings = torch.addcmul(base, (normalised @ weight.T).tanh(), alpha)  # token, source, column
        res = mappings[:, :, 2:].transpose(1, 2).contiguous() if self.streams_mix else None
        return SiteMaps(pre=mappings[:, :, 0], post=mappings[:, :, 1], res=res)


HC = Hyper(name="hc", streams_mix=True)
IDENTITY_HC = Hyper(name="identity-hc", streams_mix=False)
