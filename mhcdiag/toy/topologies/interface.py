"""What a residual topology is: which parameters a site has, and which mappings they make of the streams.

To add one: a file here with an instance, its entry in `TOPOLOGIES` (`topologies/__init__.py`), its name in the help of
`mhcdiag toy train --topology`, which lists them without importing torch, and how its checkpoints are read in
`layouts/families/toy.py`.

What an entry must obey: at step 0 its gain is 1 within 5 %, so that whatever differs later was learned; every parameter
gets a gradient; the transformer's own parameters are none of its business, and the same for all topologies.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from mhcdiag.toy.settings import ToySettings

Streams = Float[Tensor, "token stream width"]
Packed = tuple[Tensor, ...]
"""Tensors that one site needs; for all sites at once with the sites on the first axis."""
RMS_EPS = 1e-6
"""Added to mean squares before they divide."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteMaps:
    """The three mappings of one site: x_new = res x + post F(pre x)."""

    pre: Float[Tensor, "token stream"]
    """Weights by which the branch reads the streams."""
    post: Float[Tensor, "token stream"]
    """Weights by which it writes to them."""
    res: Float[Tensor, "token target source"] | None
    """How the streams are mixed; None leaves them as they are."""


@runtime_checkable
class Topology(Protocol):
    """One way to connect the branches of a transformer."""

    @property
    def name(self) -> str:
        """On the command line, in configurations, and of the run's folder."""

    @property
    def streams_mix(self) -> bool:
        """Whether anything carries one stream into another."""

    def streams(self, settings: ToySettings) -> int:
        """Number of residual streams."""

    def initial(self, settings: ToySettings, generator: Generator) -> dict[str, Tensor]:
        """Initial parameters by name, sites on the first axis; empty where a site has none."""

    def pack(self, parameters: dict[str, Tensor]) -> Packed:
        """Bring the parameters of all sites into the form that `maps` takes, once per step."""

    def maps(self, streams: Streams, packed: Packed) -> SiteMaps | None:
        """The mappings of one site; None for the ordinary residual stream.

        Parameters
        ----------
        streams
            Input of the site, float32.
        packed
            The slices of this site of what `pack` returned.
        """


def one_hot_by_site(sites: int, streams: int) -> Float[Tensor, "site stream"]:
    """Each site reads one stream, in turn: equation 14 of arXiv 2409.19606 (e_{l mod n})."""
    return torch.eye(streams)[torch.arange(sites) % streams]
