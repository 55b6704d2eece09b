"""What a residual topology costs beside the ordinary residual stream."""

from dataclasses import dataclass

from mhcdiag.results.presented import Brief


@dataclass(frozen=True, kw_only=True, slots=True)
class Traffic:
    """Memory traffic of the connections, per token and site."""

    topology: str
    """`residual`, `hc`, or `mhc, fused`."""
    reads: int
    """Elements read."""
    writes: int
    """Elements written."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepTime:
    """Measured time of one training step of a toy model."""

    topology: str
    """Name of the topology."""
    milliseconds: float
    """Processor time of the median step."""
    ratio: float
    """The same over that of `residual`."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class CostResult(Brief):
    """Costs of one model by formula, and of the toys by measurement where that was asked for."""

    model: str
    """Where the sizes come from: a preset, a file, or the options."""
    width: int
    """Features C per stream."""
    streams: int
    """Streams n."""
    sites: int
    """Sites L, two per transformer block."""
    dtype: str
    """Element type of the streams."""
    traffic: tuple[Traffic, ...]
    """Table 2 of arXiv 2512.24880, the residual stream first."""
    parameters_hc: int
    """Parameters of all hyper-connections, unconstrained."""
    parameters_mhc: int
    """The same for mHC."""
    stream_bytes: int
    """Bytes per token of the streams at all sites: what the backward pass keeps without recomputation."""
    recompute_block: float
    """Sites per recomputed block that keeps least: sqrt(n L / (n + 2)), equation 20."""
    recomputed_bytes: int
    """Bytes per token kept with blocks of that size."""
    pipeline_bytes: int
    """Bytes per token that pass from one pipeline stage to the next: n times those of the residual stream."""
    measured: tuple[StepTime, ...] = ()
    """Step times on this machine."""
