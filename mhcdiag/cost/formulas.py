"""The cost formulas of arXiv 2512.24880, for one token."""

import math

from mhcdiag.cost.sizes import DTYPE_BYTES, Sizes
from mhcdiag.results.cost import CostResult, Traffic


def residual_traffic(sizes: Sizes) -> Traffic:
    """The residual add: two vectors in, one out (Table 2)."""
    return Traffic(topology="residual", reads=2 * sizes.width, writes=sizes.width)


def hyper_traffic(sizes: Sizes) -> Traffic:
    """Hyper-connections, one kernel per step: (5n + 1) C + n^2 + 2n in, (3n + 1) C + n^2 + 2n out (Table 2)."""
    n, c = sizes.streams, sizes.width
    mappings = n * n + 2 * n
    return Traffic(topology="hc", reads=(5 * n + 1) * c + mappings, writes=(3 * n + 1) * c + mappings)


def fused_traffic(sizes: Sizes) -> Traffic:
    """The fused mHC: one kernel mixes, writes and adds (section 4.3.1).

    It reads (n + 1) C elements instead of (3n + 1) C and writes n C instead of 3 n C. What is left besides are the two
    passes that compute the mappings and read the streams.
    """
    n, c = sizes.streams, sizes.width
    apart = hyper_traffic(sizes)
    return Traffic(
        topology="mhc, fused",
        reads=apart.reads - (3 * n + 1) * c + (n + 1) * c,
        writes=apart.writes - 3 * n * c + n * c,
    )


def recompute_block(*, streams: int, sites: int) -> float:
    """Sites per block that is recomputed in the backward pass: L_r* = sqrt(n L / (n + 2)), equation 20."""
    return math.sqrt(streams * sites / (streams + 2))


def parameters_hc(sizes: Sizes) -> int:
    """Of all sites: theta (n + 2) C, biases n^2 + 2n, three factors (equation 5)."""
    n = sizes.streams
    return 2 * sizes.blocks * ((n + 2) * sizes.width + n * n + 2 * n + 3)


def parameters_mhc(sizes: Sizes) -> int:
    """Of all sites: phi n C (n^2 + 2n), biases n^2 + 2n, three factors (equation 7)."""
    n = sizes.streams
    return 2 * sizes.blocks * ((n * sizes.width + 1) * (n * n + 2 * n) + 3)


def cost_of(sizes: Sizes, *, model: str) -> CostResult:
    """All costs of one model.

    Arguments: model: where the sizes come from.
    """
    n, c, sites = sizes.streams, sizes.width, 2 * sizes.blocks
    size = DTYPE_BYTES[sizes.dtype]
    block = recompute_block(streams=n, sites=sites)
    whole = max(1, round(block))
    # Of each block the streams at its entry are kept, n C; inside the block that is being recomputed (n + 2) C a site.
    kept = n * c * math.ceil(sites / whole) + (n + 2) * c * whole
    return CostResult(
        model=model,
        width=c,
        streams=n,
        sites=sites,
        dtype=sizes.dtype,
        traffic=(residual_traffic(sizes), hyper_traffic(sizes), fused_traffic(sizes)),
        parameters_hc=parameters_hc(sizes),
        parameters_mhc=parameters_mhc(sizes),
        stream_bytes=n * c * sites * size,
        recompute_block=block,
        recomputed_bytes=kept * size,
        pipeline_bytes=n * c * size,
    )
