"""The implementations of composite gains, and which of them runs."""

from functools import cache

import torch

from mhcdiag.kernels.choice import (
    COMPILED_STREAMS,
    MANY_MATRICES,
    NO_NUMBA,
    NO_TRITON,
    Implementation,
    first_that_runs,
)
from mhcdiag.kernels.composite.interface import Kernel
from mhcdiag.kernels.composite.reference import ReferenceKernel


@cache
def _numba() -> Kernel | None:
    try:
        from mhcdiag.kernels.composite.cpu import NumbaKernel
    except NO_NUMBA:
        return None
    return NumbaKernel()


@cache
def _triton() -> Kernel | None:
    try:
        from mhcdiag.kernels.composite.gpu import TritonKernel
        from mhcdiag.kernels.gpu_launch import try_out

        try_out("cuda")
    except NO_TRITON:
        return None
    return TritonKernel()


KERNELS: tuple[Implementation[Kernel], ...] = (
    Implementation(name="numba", load=_numba, device="cpu", more_than=MANY_MATRICES, streams=COMPILED_STREAMS),
    # However few matrices there are: in plain torch a GPU would be sent some thousand operations.
    Implementation(name="triton", load=_triton, device="cuda", streams=COMPILED_STREAMS),
    Implementation(name="torch", load=ReferenceKernel),
)
"""The fastest first."""


def choose_kernel(*, device: str, streams: int, matrices: int, dtype: torch.dtype) -> Kernel:
    """The implementation for one measurement.

    Parameters
    ----------
    device
        Where the mappings are: `cpu`, `cuda` or `mps`.
    streams
        Number n of streams.
    matrices
        Sites times tokens, all chunks together.
    dtype
        Element type of the products.
    """
    if dtype not in (torch.float32, torch.float64):
        return ReferenceKernel()
    return first_that_runs(KERNELS, device=device, streams=streams, matrices=matrices)
