"""The implementation for GPUs: one Triton program takes a block of tokens through all sites."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from mhcdiag.kernels.choice import widened
from mhcdiag.kernels.composite.gpu_programs import composite_program, span_program
from mhcdiag.kernels.composite.interface import (
    KEYS,
    ChunkGains,
    KindGains,
    Maps,
    OctaveCounts,
    Outputs,
    is_safe,
    octave_counts,
    order_statistics,
)
from mhcdiag.kernels.composite.reference import ReferenceKernel
from mhcdiag.kernels.composite.scaled import Scaled
from mhcdiag.kernels.gpu_launch import device_of
from mhcdiag.results.gain import Kind, SpanKey

REGISTERS = 128
"""32-bit registers of a thread that one site's mapping and composite may fill together."""
SUM, MAXIMUM, MINIMUM = range(3)
"""Places of the reduced numbers, as `gpu_programs` writes them."""
FORWARD_NORM = 1
"""The key that bounds all entries of a product."""


@dataclass(frozen=True, slots=True)
class TritonKernel:
    """See `Kernel`; a chunk with NaN, infinity or gains near the limits of its element type goes to the reference.

    Composites and all spans are Triton programs; quantiles are plain torch on the same device.
    """

    name: ClassVar[str] = "triton"

    def chunk_gains(self, maps: Maps, outputs: Outputs) -> ChunkGains:
        """See `Kernel`."""
        sites, streams, _, tokens = maps.shape
        maps = _with_one_entry_stride(maps)
        products = _type_of_products(maps)
        block = _tokens_of_a_program(streams, products)
        programs = triton.cdiv(tokens, block)
        with_matrices, with_tokens = Outputs.MATRICES in outputs, Outputs.PER_TOKEN in outputs
        reduced = maps.new_zeros((programs, 3, sites, 3, len(KEYS)), dtype=products)
        entry_sums = maps.new_empty((programs if with_matrices else 0, 3, sites, streams, streams), dtype=products)
        per_token = maps.new_empty((3 if with_tokens else 0, len(KEYS), sites, tokens), dtype=products)
        finite = maps.new_empty(programs, dtype=products)
        with device_of(maps):
            composite_program[(programs,)](
                maps, maps.stride(0), maps.stride(3), maps.stride(2), sites, tokens,
                reduced, entry_sums, per_token, finite,
                n=streams, side=triton.next_power_of_2(streams), TOKENS=block,
                dtype=tl.float64 if products == torch.float64 else tl.float32,
                with_matrices=with_matrices, with_tokens=with_tokens, num_warps=1,
            )  # fmt: skip
        norms = reduced[..., FORWARD_NORM]
        edges = torch.stack([norms[..., MINIMUM].min(), norms[..., MAXIMUM].max(), finite.sum()])
        lowest, highest, check = edges.tolist()  # the one place that waits for the device
        if check != 0 or not is_safe(lowest, highest, products):
            return ReferenceKernel().chunk_gains(widened(maps), outputs)
        kinds = {
            kind: KindGains(
                sums=Scaled(reduced[:, k, :, SUM].double().sum(dim=0).T, None),
                maxima=Scaled(reduced[:, k, :, MAXIMUM].amax(dim=0).T, None),
                matrices=Scaled(entry_sums[:, k].double().sum(dim=0), None) if with_matrices else None,
                per_token=Scaled(per_token[k], None) if with_tokens else None,
            )
            for k, kind in enumerate(Kind)
        }
        return ChunkGains(kinds=kinds, nonfinite=None, kernel=self.name)

    def span_sums(self, maps: Maps) -> dict[SpanKey, Scaled]:
        """See `Kernel`."""
        sites, streams, _, tokens = maps.shape
        maps = _with_one_entry_stride(maps)
        products = _type_of_products(maps)
        block = _tokens_of_a_program(streams, products)
        programs = triton.cdiv(tokens, block)
        sums = maps.new_full((programs, sites, sites, len(KEYS)), torch.nan, dtype=products)
        extremes = maps.new_empty((programs, sites, 3), dtype=products)
        with device_of(maps):
            span_program[(programs, sites)](
                maps, maps.stride(0), maps.stride(3), maps.stride(2), sites, tokens, sums, extremes,
                n=streams, side=triton.next_power_of_2(streams), TOKENS=block,
                dtype=tl.float64 if products == torch.float64 else tl.float32, num_warps=1,
            )  # fmt: skip
        edges = torch.stack([extremes[..., 0].min(), extremes[..., 1].max(), extremes[..., 2].sum()])
        lowest, highest, check = edges.tolist()  # waits for the device
        if check != 0 or not is_safe(lowest, highest, products):
            return ReferenceKernel().span_sums(maps)
        total = sums.double().sum(dim=0)
        return {key: Scaled(total[..., k], None) for k, key in enumerate(KEYS)}

    def order_statistics(self, values: Float[Tensor, "row token"], ranks: tuple[int, int]) -> Float[Tensor, "row rank"]:
        """See `Kernel`."""
        return order_statistics(values, ranks)

    def octave_counts(self, values: Scaled) -> OctaveCounts:
        """See `Kernel`."""
        return octave_counts(values)


def _with_one_entry_stride(maps: Maps) -> Maps:
    """The mappings, copied only where their entries do not lie one fixed stride apart."""
    return maps if maps.stride(1) == maps.shape[1] * maps.stride(2) else maps.contiguous()


def _type_of_products(maps: Maps) -> torch.dtype:
    return torch.float64 if maps.dtype == torch.float64 else torch.float32


def _tokens_of_a_program(streams: int, products: torch.dtype) -> int:
    """A warp of 32 threads with as many tokens each as fit into registers: its sums need no exchange between warps."""
    registers = 2 * triton.next_power_of_2(streams) ** 2 * (2 if products == torch.float64 else 1)
    return 64 if 2 * registers <= REGISTERS else 32
