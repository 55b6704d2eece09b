"""What every implementation of composite gains takes and gives back.

Adding one is one file here with a frozen dataclass that has the attributes of `Kernel` and a `name` of its own, and one
entry in `KERNELS` (`dispatch.py`). It must

* give the numbers of `ReferenceKernel` to rounding, for any strides and any number of tokens (`tests/kernels`),
* hand chunks with NaN, infinity or gains that are not `is_safe` to the reference,
* raise ImportError or RuntimeError while it is imported where something is missing: plain torch then runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Flag, auto
from itertools import product
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from mhcdiag.kernels.composite.quantiles import OctaveCounts
from mhcdiag.kernels.composite.scaled import Scaled
from mhcdiag.results.gain import Definition, Direction, Kind, SpanKey

Maps = Float[Tensor, "site stream stream token"]
"""H_res per site and token in the convention x_new = H x. Any strides: what a file holds token by token is a view."""

KEYS: tuple[SpanKey, ...] = tuple(product(Direction, Definition))
"""The order of the axis `key`: forward amax, forward norm, backward amax, backward norm."""

# The square root of the range, with some room: no term of a product of two safe matrices overflows or underflows.
_SAFE = {torch.float32: 2.0**60, torch.float64: 2.0**500}


def is_safe(lowest: float, highest: float, dtype: torch.dtype) -> bool:
    """Whether products with norm gains from `lowest` to `highest` lost nothing to overflow or underflow on the way.

    False for NaN, too.
    """
    return 1 / _SAFE[dtype] <= lowest and highest <= _SAFE[dtype]


class Outputs(Flag):
    """What is wanted beyond sums and maxima."""

    NOTHING = 0
    PER_TOKEN = auto()
    """The gains of every token, for quantiles."""
    MATRICES = auto()
    """Token sums of the composites themselves, for the gain of the mean."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KindGains:
    """The gains of one kind of product, for one chunk of tokens."""

    sums: Scaled
    """[key, site], over tokens."""
    maxima: Scaled
    """[key, site], over tokens."""
    matrices: Scaled | None
    """[site, row, column], sums over tokens; None unless wanted."""
    per_token: Scaled | None
    """[key, site, token]; None unless wanted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChunkGains:
    """The gains of one chunk of tokens."""

    kinds: Mapping[Kind, KindGains]
    """Single, prefix and suffix products."""
    nonfinite: Tensor | None
    """Per site, the number of tokens whose mapping holds NaN or infinity; None where there is none."""
    kernel: str
    """Name of the implementation that ran."""


@runtime_checkable
class Kernel(Protocol):
    """One implementation of composite gains and their all-spans form."""

    @property
    def name(self) -> str:
        """As it is shown to users."""

    def chunk_gains(self, maps: Maps, outputs: Outputs) -> ChunkGains:
        """Gains of single, prefix and suffix products of one chunk, computed in the element type of `maps`.

        Mappings in half precision are computed in float32.
        """

    def span_sums(self, maps: Maps) -> dict[SpanKey, Scaled]:
        """Per key, sums over tokens of the gain of P(a,b) as a matrix [a, b]; NaN below the diagonal."""

    def order_statistics(self, values: Float[Tensor, "row token"], ranks: tuple[int, int]) -> Float[Tensor, "row rank"]:
        """The values of two ranks, counted from 1 and ascending, of each row; NaN ranks above everything."""

    def octave_counts(self, values: Scaled) -> OctaveCounts:
        """How many values of each row [row, token], none negative, lie in each bin; see `quantiles`."""
