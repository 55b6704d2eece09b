"""Parameters fused over pre, post and residual entries: n + n + n*n in this order, the last row by row."""

from collections.abc import Mapping
from math import isqrt

from torch import Tensor

from mhcdiag.layouts.interface import Site
from mhcdiag.namedtensors import NamedTensors


def streams_of_rows(rows: int) -> int:
    """The n of n*n + 2n rows; 0 where there is no such n.

    >>> streams_of_rows(24), streams_of_rows(25)
    (4, 0)
    """
    streams = isqrt(rows + 1) - 1
    return streams if streams * (streams + 2) == rows else 0


def streams_of_fused(checkpoint: NamedTensors, site: Site, role: str, *, axis: int = 0) -> int:
    """Number of streams from the fused axis of one tensor."""
    shape = checkpoint.tensors[site.tensors[role]].shape
    return streams_of_rows(shape[axis]) if len(shape) > axis else 0


def streams_of_square(checkpoint: NamedTensors, site: Site, role: str) -> int:
    """Number of streams from a residual matrix [n, n] (or flattened, n*n)."""
    shape = checkpoint.tensors[site.tensors[role]].shape
    if len(shape) == 1:
        return isqrt(shape[0]) if isqrt(shape[0]) ** 2 == shape[0] else 0
    return shape[0] if len(shape) == 2 and shape[0] == shape[1] else 0


def residual_block(fused: Tensor, streams: int) -> Tensor:
    """The residual entries [n, n] of a fused vector."""
    return fused[2 * streams :].view(streams, streams)


def residual_columns(
    values: Mapping[str, Tensor], role: str, streams: int, *, input_major: bool = False, weight: Tensor | None = None
) -> Tensor | None:
    """The residual columns [n*C, n*n] of a fused projection, a norm's weight folded in; None where it was not read."""
    if role not in values:
        return None
    projection = values[role] if input_major else values[role].T
    columns = projection[:, 2 * streams :]
    return columns if weight is None else columns * weight[:, None]
