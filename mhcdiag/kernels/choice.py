"""Which implementation runs: the fastest one that is there and pays."""

from functools import cache

import torch
from torch import Tensor

from mhcdiag.kernels.composite.interface import Kernel
from mhcdiag.kernels.reference import Reference
from mhcdiag.kernels.sinkhorn.reference import ReferenceSinkhorn
from mhcdiag.kernels.sinkhorn.rule import SinkhornKernel

WORTH_COMPILING = 1_000_000
"""Matrices above which Numba is used: below, plain torch is done before Numba is imported, let alone compiled."""
STREAMS = (2, 3, 4, 8)
"""Numbers of streams that the compiled implementations know."""
NO_NUMBA = (ImportError, RuntimeError)
"""Not installed, or nowhere to cache what was compiled."""
NO_TRITON = (ImportError, RuntimeError)
"""Not installed, or too old, or no C compiler, no headers of Python, no GPU that it knows."""


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
    if streams in STREAMS and dtype in (torch.float32, torch.float64):
        if device == "cpu" and matrices > WORTH_COMPILING:
            return _numba() or Reference()
        if device == "cuda":
            return _triton() or Reference()
    return Reference()


def choose_sinkhorn(logits: Tensor, *, matrices: int) -> SinkhornKernel:
    """The implementation for one kind of Sinkhorn-Knopp iteration.

    Parameters
    ----------
    logits
        What is to be normalised, [..., row, column, token].
    matrices
        How many of them come in all calls together.
    """
    if logits.device.type == "cpu" and matrices > WORTH_COMPILING:
        return _numba_sinkhorn() or ReferenceSinkhorn()
    if logits.device.type == "cuda" and logits.shape[-2] in STREAMS:
        return _triton_sinkhorn() or ReferenceSinkhorn()
    return ReferenceSinkhorn()


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


@cache
def _numba_sinkhorn() -> SinkhornKernel | None:
    try:
        from mhcdiag.kernels.sinkhorn.cpu import NumbaSinkhorn
    except NO_NUMBA:
        return None
    return NumbaSinkhorn()


@cache
def _triton_sinkhorn() -> SinkhornKernel | None:
    try:
        from mhcdiag.kernels.gpu_launch import try_out
        from mhcdiag.kernels.sinkhorn.gpu import TritonSinkhorn

        try_out("cuda")
    except NO_TRITON:
        return None
    return TritonSinkhorn()
