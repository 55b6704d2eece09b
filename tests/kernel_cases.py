"""Implementations of composite gains and Sinkhorn-Knopp that run here: plain torch, Numba and Triton if installed."""

import importlib.util
import os

from mhcdiag.kernels.composite.interface import Kernel
from mhcdiag.kernels.composite.reference import ReferenceKernel
from mhcdiag.kernels.sinkhorn.interface import SinkhornKernel
from mhcdiag.kernels.sinkhorn.reference import ReferenceSinkhorn


def has(package: str) -> bool:
    """Whether a package is installed."""
    return importlib.util.find_spec(package) is not None


def runs_triton() -> bool:
    """Whether Triton is installed and was told to interpret its programs on the CPU."""
    return has("triton") and os.environ.get("TRITON_INTERPRET") == "1"


def all_kernels() -> list[Kernel]:
    """Every implementation that runs on this machine; Triton's on the CPU, through its interpreter."""
    found: list[Kernel] = [ReferenceKernel()]
    if has("numba"):
        from mhcdiag.kernels.composite.cpu import NumbaKernel

        found.append(NumbaKernel())
    if runs_triton():
        from mhcdiag.kernels.composite.gpu import TritonKernel

        found.append(TritonKernel())
    return found


def all_sinkhorns() -> list[SinkhornKernel]:
    """As `all_kernels`, of the Sinkhorn-Knopp iteration."""
    found: list[SinkhornKernel] = [ReferenceSinkhorn()]
    if has("numba"):
        from mhcdiag.kernels.sinkhorn.cpu import NumbaSinkhorn

        found.append(NumbaSinkhorn())
    if runs_triton():
        from mhcdiag.kernels.sinkhorn.gpu import TritonSinkhorn

        found.append(TritonSinkhorn())
    return found


ALL_KERNELS = all_kernels()
ALL_SINKHORNS = all_sinkhorns()
