"""One chunk of tokens, from mappings to the sums that chunks add up to; split where memory does not suffice.

A chunk leaves a few kilobytes behind, whatever its number of tokens: gains, residuals of the Sinkhorn iteration, tokens
that are not finite, and the mappings of the tokens that all spans are computed for.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from mhcdiag.kernels.composite.interface import ChunkGains, Kernel, KindGains, Outputs
from mhcdiag.kernels.composite.reference import prefixes
from mhcdiag.kernels.composite.scaled import Scaled
from mhcdiag.mappings.interface import CHUNK_TOKENS, MapSource
from mhcdiag.measures.reductions import KindSums, TokenQuantiles, chunk_sums, positions_of_others
from mhcdiag.results.gain import Direction, Kind, SinkhornQuality

SMALLEST_PIECE = 16
"""Tokens below which nothing is split any further: memory is then short for another reason."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ResidualSums:
    """What one chunk of tokens adds: float64, on the CPU."""

    rows: Float[Tensor, " site"]
    """Sum over tokens of the largest deviation of a row sum from 1."""
    columns: Float[Tensor, " site"]
    """The same of column sums."""
    log_sum: float
    """Sum over tokens of the largest |ln s| over the inexact side's sums s of the full composite."""
    log_max: float
    """The largest of them."""

    def __add__(self, later: "ResidualSums") -> "ResidualSums":
        return ResidualSums(
            rows=self.rows + later.rows,
            columns=self.columns + later.columns,
            log_sum=self.log_sum + later.log_sum,
            log_max=math.nan if math.isnan(self.log_max + later.log_max) else max(self.log_max, later.log_max),
        )

    def quality(self, exact_side: Direction, *, tokens: int) -> SinkhornQuality:
        """The record over all tokens."""
        return SinkhornQuality(
            exact_side=exact_side,
            row_residual=tuple((self.rows / tokens).tolist()),
            column_residual=tuple((self.columns / tokens).tolist()),
            log_sum_mean=self.log_sum / tokens,
            log_sum_max=self.log_max,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ChunkSums:
    """What one chunk adds to the measurement: float64, on the CPU, a few kilobytes whatever the number of tokens."""

    start: int
    """Its first token."""
    kinds: dict[Kind, KindSums]
    nonfinite: Tensor
    """Per site, the number of tokens whose mapping holds NaN or infinity."""
    residuals: ResidualSums | None
    samples: Float[Tensor, "site stream stream token"]
    """The mappings of those of its tokens that all spans are computed for."""
    kernels: frozenset[str]
    """Names of the implementations that ran."""
    piece: int = CHUNK_TOKENS
    """Tokens that fitted into memory at once; less than `CHUNK_TOKENS` only where memory ran out."""

    def __add__(self, later: "ChunkSums") -> "ChunkSums":
        residuals = None
        if self.residuals is not None and later.residuals is not None:
            residuals = self.residuals + later.residuals
        return replace(
            self,
            kinds={kind: sums + later.kinds[kind] for kind, sums in self.kinds.items()},
            nonfinite=self.nonfinite + later.nonfinite,
            residuals=residuals,
            kernels=self.kernels | later.kernels,
            piece=min(self.piece, later.piece),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ChunkMeasurer:
    """Everything that is the same for all chunks of a measurement."""

    source: MapSource
    kernel: Kernel
    quantiles: TokenQuantiles
    exact_side: Direction | None
    first_tokens: tuple[int, ...]
    picked: Tensor
    """Positions of the tokens that all spans are computed for."""
    dtype: torch.dtype
    device: str

    def measure(self, start: int, stop: int) -> ChunkSums:
        """The sums of tokens start..stop-1; their gains go to `quantiles`."""
        maps = self.source.chunk(start, stop, device=self.device)
        maps = maps if maps.dtype == self.dtype else maps.to(self.dtype)
        gained = gains_within_memory(self.kernel.chunk_gains, maps, Outputs.PER_TOKEN | Outputs.MATRICES)
        found = gained.gains
        self.quantiles.add(found, start=start)
        others = positions_of_others(self.first_tokens, start=start, stop=stop)
        inside = self.picked[(self.picked >= start) & (self.picked < stop)] - start
        return ChunkSums(
            start=start,
            kinds=chunk_sums(found, others=others),
            nonfinite=torch.zeros(len(maps), dtype=torch.long) if found.nonfinite is None else found.nonfinite,
            residuals=None if self.exact_side is None else residual_sums(maps, self.exact_side),
            samples=maps[..., inside.to(maps.device)].cpu(),
            kernels=frozenset({found.kernel}),
            piece=gained.piece if gained.piece < stop - start else CHUNK_TOKENS,
        )


def residual_sums(maps: Float[Tensor, "site stream stream token"], exact_side: Direction) -> ResidualSums:
    """How far the mappings of one chunk and their composite are from doubly stochastic (arXiv 2512.24880, section 4.2).

    Per site max |sum - 1|; of the composite max |ln sum|, since a column sum of 0.4 is further from 1 than one of 1.5.

    Parameters
    ----------
    maps
        Its mappings.
    exact_side
        The direction whose sums the Sinkhorn iteration made 1.
    """
    inexact_axis = 0 if exact_side is Direction.FORWARD else 1
    composite = prefixes(maps)[-1]
    sums = composite.mantissa.sum(dim=inexact_axis).abs().log()
    if composite.exponent is not None:
        sums = sums + composite.exponent[0] * torch.log(torch.tensor(2.0))
    largest = sums.abs().amax(dim=0)
    return ResidualSums(
        rows=_residual(maps, axis=2),
        columns=_residual(maps, axis=1),
        log_sum=float(largest.sum()),
        log_max=float(largest.max()),
    )


def _residual(maps: Float[Tensor, "site stream stream token"], *, axis: int) -> Float[Tensor, " site"]:
    """Sum over tokens of the largest deviation of a row sum (axis 2) or column sum (axis 1) from 1."""
    return (maps.sum(dim=axis) - 1).abs().amax(dim=1).sum(dim=-1).cpu().double()


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedGains:
    """The gains of a chunk, and in which pieces it went through memory."""

    gains: ChunkGains
    piece: int
    """Tokens of the largest piece."""


def gains_within_memory(
    measure: Callable[[Tensor, Outputs], ChunkGains], maps: Float[Tensor, "site stream stream token"], outputs: Outputs
) -> FittedGains:
    """Measure a chunk, in halves where it does not fit into memory, in halves of those where they do not either."""
    tokens = maps.shape[-1]
    try:
        return FittedGains(gains=measure(maps, outputs), piece=tokens)
    except (MemoryError, RuntimeError) as error:
        if tokens < 2 * SMALLEST_PIECE or not _is_out_of_memory(error):
            raise
    half = tokens // 2
    first = gains_within_memory(measure, maps[..., :half], outputs)
    second = gains_within_memory(measure, maps[..., half:], outputs)
    return FittedGains(gains=_joined(first.gains, second.gains), piece=max(first.piece, second.piece))


def _is_out_of_memory(error: Exception) -> bool:
    # Torch's allocator for the CPU raises a bare RuntimeError, known by its words alone.
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "not enough memory" in str(error)


def _joined(first: ChunkGains, second: ChunkGains) -> ChunkGains:
    broken = [part.nonfinite for part in (first, second) if part.nonfinite is not None]
    return ChunkGains(
        kinds={kind: _joined_kind(first.kinds[kind], second.kinds[kind]) for kind in first.kinds},
        nonfinite=torch.stack(broken).sum(dim=0) if broken else None,
        kernel=first.kernel if first.kernel == second.kernel else f"{first.kernel} and {second.kernel}",
    )


def _joined_kind(first: KindGains, second: KindGains) -> KindGains:
    matrices = per_token = None
    if first.matrices is not None and second.matrices is not None:
        matrices = first.matrices + second.matrices
    if first.per_token is not None and second.per_token is not None:
        per_token = _concatenated(first.per_token, second.per_token)
    return KindGains(
        sums=first.sums + second.sums,
        maxima=first.maxima.maximum(second.maxima),
        matrices=matrices,
        per_token=per_token,
    )


def _concatenated(first: Scaled, second: Scaled) -> Scaled:
    mantissa = torch.cat([first.mantissa, second.mantissa], dim=-1)
    if first.exponent is None and second.exponent is None:
        return Scaled(mantissa, None)
    exponents = [
        torch.zeros_like(part.mantissa) if part.exponent is None else part.exponent.expand_as(part.mantissa)
        for part in (first, second)
    ]
    return Scaled(mantissa, torch.cat(exponents, dim=-1))
