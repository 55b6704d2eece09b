"""mHC-lite (arXiv 2601.05732): H_res is a convex combination of all permutation matrices, exactly doubly stochastic.

H_res = sum_k softmax(alpha_res phi_res z + b_res)_k P_k over the n! permutations; the rest is as in mHC.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from mhcdiag.mappings.birkhoff import permutation_matrices
from mhcdiag.toy.settings import ToySettings
from mhcdiag.toy.topologies.interface import Packed, SiteMaps, Streams
from mhcdiag.toy.topologies.manifold import flattened_logits, pack_rows, shared_start

IDENTITY_START = 6.0
"""Logit of the identity, the others being 0: its weight among 24 permutations is then 0.946."""


@dataclass(frozen=True, slots=True)
class Permutations:
    """mHC-lite."""

    name: ClassVar[str] = "mhc-lite"
    streams_mix: ClassVar[bool] = True

    def streams(self, settings: ToySettings) -> int:
        """See `Topology`."""
        return settings.streams

    def initial(self, settings: ToySettings, generator: Generator) -> dict[str, Tensor]:
        """See `Topology`; the identity is the first permutation."""
        count = len(permutation_matrices(settings.streams))
        found = shared_start(settings, generator, mixing=count)
        found["b_res"] = torch.zeros(2 * settings.depth, count)
        found["b_res"][:, 0] = IDENTITY_START
        return found

    def pack(self, parameters: dict[str, Tensor]) -> Packed:
        """See `Topology`."""
        return pack_rows(parameters)

    def maps(self, streams: Streams, packed: Packed) -> SiteMaps:
        """See `Topology`."""
        count = streams.shape[1]
        logits = flattened_logits(streams, *packed)
        weights = logits[: 2 * count].sigmoid().T
        matrices = permutation_matrices(count).to(logits)
        mixed = logits[2 * count :].softmax(dim=0).T @ matrices.flatten(1)
        return SiteMaps(pre=weights[:, :count], post=2 * weights[:, count:], res=mixed.view(-1, count, count))


MHC_LITE = Permutations()
