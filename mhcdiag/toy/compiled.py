"""Sinkhorn-Knopp compiled by Numba: the same steps as in `sinkhorn`, for blocks of tokens that stay in the cache."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

BLOCK = 128
"""Tokens that are normalised together: wide enough for vector instructions, small enough for the first cache."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kernels:
    """The two compiled functions, as `plain_forward` and `plain_backward`."""

    forward: Callable[[Tensor, int, float], tuple[Tensor, Tensor]]
    """Result and sums of every step."""
    backward: Callable[[Tensor, Tensor, Tensor], Tensor]
    """Gradient at the start."""


@cache
def kernels() -> Kernels | None:
    """The compiled kernels; None where Numba (extra `fast`) is not installed."""
    try:
        import numba
    except ImportError:
        return None
    compile_ = numba.njit(cache=True, fastmath={"contract", "arcp", "nsz"}, error_model="numpy")
    return _with_tensors(compile_(_forward), compile_(_backward))


def _with_tensors(forward: Callable[..., None], backward: Callable[..., None]) -> Kernels:
    def run_forward(matrix: Tensor, iterations: int, eps: float) -> tuple[Tensor, Tensor]:
        matrix = matrix.detach().contiguous()
        sums = matrix.new_empty(2 * iterations - 1, *matrix.shape[1:])
        result = torch.empty_like(matrix)
        forward(matrix.numpy(), matrix.new_tensor(eps).numpy()[()], sums.numpy(), result.numpy(), BLOCK)
        return result, sums

    def run_backward(gradient: Tensor, result: Tensor, sums: Tensor) -> Tensor:
        found = torch.empty_like(result)
        backward(gradient.contiguous().numpy(), result.numpy(), sums.numpy(), found.numpy(), BLOCK)
        return found

    return Kernels(forward=run_forward, backward=run_backward)


def _forward(start: Any, eps: Any, sums: Any, result: Any, block: int) -> None:
    streams, _, tokens = start.shape
    for first in range(0, tokens, block):
        last = min(first + block, tokens)
        result[:, :, first:last] = start[:, :, first:last]
        for step in range(sums.shape[0]):
            for line in range(streams):
                total = sums[step, line, first:last]
                total[:] = eps
                for k in range(streams):
                    entry = result[k, line, first:last] if step % 2 else result[line, k, first:last]
                    for t in range(last - first):
                        total[t] += entry[t]
                for k in range(streams):
                    entry = result[k, line, first:last] if step % 2 else result[line, k, first:last]
                    for t in range(last - first):
                        entry[t] /= total[t]


def _backward(gradient: Any, result: Any, sums: Any, found: Any, block: int) -> None:
    streams, _, tokens = result.shape
    for first in range(0, tokens, block):
        last = min(first + block, tokens)
        found[:, :, first:last] = gradient[:, :, first:last]
        matrix = result[:, :, first:last].copy()
        inner = matrix[0, 0].copy()
        for step in range(sums.shape[0] - 1, -1, -1):
            for line in range(streams):
                total = sums[step, line, first:last]
                inner[:] = 0
                for k in range(streams):
                    entry = matrix[k, line] if step % 2 else matrix[line, k]
                    slope = found[k, line, first:last] if step % 2 else found[line, k, first:last]
                    for t in range(last - first):
                        inner[t] += entry[t] * slope[t]
                for k in range(streams):
                    entry = matrix[k, line] if step % 2 else matrix[line, k]
                    slope = found[k, line, first:last] if step % 2 else found[line, k, first:last]
                    for t in range(last - first):
                        slope[t] = (slope[t] - inner[t]) / total[t]
                        entry[t] *= total[t]
