"""The implementation in plain torch: the oracle of the others, and what runs where none of them can.

It never overflows: products that could leave the range of their element type carry an exponent per matrix.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from mhcdiag.kernels.composite.interface import KEYS, ChunkGains, KindGains, Maps, Outputs
from mhcdiag.kernels.composite.products import gains, products, span_sums
from mhcdiag.kernels.composite.quantiles import OctaveCounts, octave_counts, order_statistics
from mhcdiag.kernels.composite.scaled import Scaled, widened
from mhcdiag.results.gain import SpanKey


@dataclass(frozen=True, slots=True)
class Reference:
    """See `Kernel`."""

    name: ClassVar[str] = "torch"

    def chunk_gains(self, maps: Maps, outputs: Outputs) -> ChunkGains:
        """See `Kernel`; works on any device."""
        maps = widened(maps).contiguous()  # tokens last in memory, or every product would stride
        nonnegative = bool((maps >= 0).all())
        broken = (~maps.isfinite()).any(dim=1).any(dim=1).sum(dim=-1).cpu()
        return ChunkGains(
            kinds={kind: _kind(each, outputs, nonnegative=nonnegative) for kind, each in products(maps).items()},
            nonfinite=broken if bool(broken.any()) else None,
            kernel=self.name,
        )

    def span_sums(self, maps: Maps) -> dict[SpanKey, Scaled]:
        """See `Kernel`; works on any device."""
        return span_sums(widened(maps))

    def order_statistics(self, values: Float[Tensor, "row token"], ranks: tuple[int, int]) -> Float[Tensor, "row rank"]:
        """See `Kernel`; works on any device."""
        return order_statistics(values, ranks)

    def octave_counts(self, values: Scaled) -> OctaveCounts:
        """See `Kernel`; works on any device."""
        return octave_counts(values)


def _kind(composites: Scaled, outputs: Outputs, *, nonnegative: bool) -> KindGains:
    by_key = gains(composites, nonnegative=nonnegative)
    stacked = Scaled(torch.stack([by_key[key].mantissa for key in KEYS]), by_key[KEYS[0]].exponent)
    return KindGains(
        sums=stacked.sum_tokens(),
        maxima=stacked.max_tokens(),
        matrices=composites.sum_tokens() if Outputs.MATRICES in outputs else None,
        per_token=stacked if Outputs.PER_TOKEN in outputs else None,
    )
