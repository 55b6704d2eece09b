"""Whether Triton runs programs here, and on which device they are started.

It needs a C compiler and headers of Python, which images for GPUs often lack: before it was tried out, `mhcdiag gain`
ended in a traceback there.
"""

from contextlib import AbstractContextManager

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _store_one(place):
    # What the real programs do and old versions cannot: tuples that grow in an unrolled loop.
    numbers = ()
    for k in tl.static_range(0, 2):
        numbers = numbers + (k * 1.0,)
    tl.store(place, numbers[1])  # Triton before 3.4 cannot take a tuple apart


def try_out(device: str) -> None:
    """Compile and run the smallest program that uses what the others need.

    Raises
    ------
    RuntimeError
        Something kept it from being compiled or run.
    """
    try:
        place = torch.zeros(1, device=device)
        _store_one[(1,)](place)
    except Exception as error:  # of Triton, its C compiler, its assembler, the driver: no two fail alike
        raise RuntimeError(f"Triton cannot run programs here: {type(error).__name__}: {error}") from error
    if place.item() != 1:
        raise RuntimeError("a Triton program ran and did nothing")


def device_of(tensor: Tensor) -> AbstractContextManager[None]:
    """Make the device of a tensor the current one, which Triton takes whatever its arguments say; nothing on a CPU."""
    found: AbstractContextManager[None] = torch.cuda.device_of(tensor)  # type: ignore[no-untyped-call]
    return found
