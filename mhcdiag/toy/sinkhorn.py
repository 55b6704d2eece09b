"""Sinkhorn-Knopp for training: one autograd step instead of eighty, forward and backward.

The iteration is that of arXiv 2512.24880, equation 9, with the start that DeepSeek-V4 released: columns of H are
softmaxed (their maximum subtracted, so that no exponential overflows) and raised by eps; then rows, and (columns, rows)
for the other iterations, eps in every denominator. Rows come last: forward sums are 1.

For one normalisation Y = K / s, s = sum(K) + eps along one axis, the gradient is dK = (dY - sum(dY * Y)) / s, and K = Y
* s: the backward pass walks back from the result with nothing but the sums of each step, 2 n t_max numbers per token.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

Matrices = Float[Tensor, "row column token"]
Sums = Float[Tensor, "step line token"]

EPS = 1e-6
COLUMN_SUMS, ROW_SUMS = 0, 1
"""The axis that is summed over: the sums of columns run over rows."""


def sinkhorn(logits: Matrices, *, iterations: int, eps: float = EPS) -> Matrices:
    """Nearly doubly stochastic matrices from logits, differentiable.

    Arguments: logits: one matrix per token, row = target stream; iterations: t_max, at least 1; eps: added to the
    softmax and to every sum. Returns: matrices of the same shape, whose rows sum to 1 up to eps.
    """
    result: Matrices = SinkhornFunction.apply(logits, iterations, eps)  # type: ignore[no-untyped-call]
    return result


class SinkhornFunction(torch.autograd.Function):
    """The iteration as one node of the graph; on the CPU compiled by Numba where that is installed."""

    @staticmethod
    def forward(ctx: Any, logits: Matrices, iterations: int, eps: float) -> Matrices:
        """The matrices."""
        kernels = _compiled(logits)
        run = kernels.forward if kernels is not None else plain_forward
        start = logits.softmax(dim=COLUMN_SUMS)
        result, sums = run(start + eps, iterations, eps)
        ctx.save_for_backward(start, result, sums)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Matrices) -> tuple[Matrices, None, None]:
        """The gradient of the logits."""
        start, result, sums = ctx.saved_tensors
        kernels = _compiled(result)
        run = kernels.backward if kernels is not None else plain_backward
        at_start = run(gradient, result, sums)
        weighted = at_start * start
        return weighted - start * weighted.sum(dim=COLUMN_SUMS, keepdim=True), None, None


def plain_forward(matrix: Matrices, iterations: int, eps: float) -> tuple[Matrices, Sums]:
    """Normalise rows, then (columns, rows); returns the result and the sums of every step, in torch."""
    sums = []
    for step in range(2 * iterations - 1):
        axis = COLUMN_SUMS if step % 2 else ROW_SUMS
        total = matrix.sum(dim=axis).add_(eps)
        matrix = matrix / total.unsqueeze(axis) if step == 0 else matrix.div_(total.unsqueeze(axis))
        sums.append(total)
    return matrix, torch.stack(sums)


def plain_backward(gradient: Matrices, result: Matrices, sums: Sums) -> Matrices:
    """The gradient at the start of `plain_forward`, in torch."""
    gradient, matrix = gradient.clone(), result.clone()
    for step in reversed(range(len(sums))):
        axis = COLUMN_SUMS if step % 2 else ROW_SUMS
        total = sums[step].unsqueeze(axis)
        inner = (gradient * matrix).sum(dim=axis, keepdim=True)
        gradient.sub_(inner).div_(total)
        matrix.mul_(total)
    return gradient


def _compiled(tensor: Tensor) -> Any:
    """The compiled kernels, if they can run on this tensor."""
    if tensor.device.type != "cpu" or tensor.dtype not in (torch.float32, torch.float64):
        return None
    from mhcdiag.toy import compiled

    return compiled.kernels()
