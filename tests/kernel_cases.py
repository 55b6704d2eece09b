"""The implementations of composite gains that run here: plain torch, and Numba and Triton where they are installed."""

import importlib.util
import os

from mhcdiag.kernels.interface import Kernel
from mhcdiag.kernels.reference import Reference


def has(package: str) -> bool:
    """Whether a package is installed."""
    return importlib.util.find_spec(package) is not None


def all_kernels() -> list[Kernel]:
    """Every implementation that runs on this machine; Triton's on the CPU, through its interpreter."""
    found: list[Kernel] = [Reference()]
    if has("numba"):
        from mhcdiag.kernels.cpu import NumbaKernel

        found.append(NumbaKernel())
    if has("triton") and os.environ.get("TRITON_INTERPRET") == "1":
        from mhcdiag.kernels.gpu import TritonKernel

        found.append(TritonKernel())
    return found


ALL_KERNELS = all_kernels()
