"""Where Triton's programs are launched."""

from contextlib import AbstractContextManager

import torch
from torch import Tensor


def device_of(tensor: Tensor) -> AbstractContextManager[None]:
    """Make the device of a tensor the current one, which Triton takes whatever its arguments say; nothing on a CPU."""
    found: AbstractContextManager[None] = torch.cuda.device_of(tensor)  # type: ignore[no-untyped-call]
    return found
