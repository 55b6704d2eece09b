"""Streams stored in a narrower element type."""

from typing import Any

import torch
from torch import Tensor

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def stored_as(streams: Tensor, dtype: str) -> Tensor:
    """The streams after a round trip through an element type: rounded, and infinite beyond its range.

    The gradient passes unchanged, so that what a run suffers from is the size of its streams alone.
    """
    if dtype == "fp32":
        return streams
    result: Tensor = _RoundTrip.apply(streams, DTYPES[dtype])  # type: ignore[no-untyped-call]
    return result


class _RoundTrip(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, streams: Tensor, dtype: torch.dtype) -> Tensor:
        del ctx
        return streams.to(dtype).to(streams.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        del ctx
        return gradient, None
