"""Whether Triton runs programs here: beside a GPU that takes a C compiler and headers of Python, which images lack."""

import torch
import triton
import triton.language as tl


@triton.jit
def _store_one(place):
    tl.store(place, 1.0)


def try_out(device: str) -> None:
    """Compile and run the smallest program.

    Raises
    ------
    OSError, RuntimeError, subprocess.SubprocessError
        Whatever kept it from being compiled or run.
    """
    place = torch.zeros(1, device=device)
    _store_one[(1,)](place)
    if place.item() != 1:
        raise RuntimeError("a Triton program ran and did nothing")
