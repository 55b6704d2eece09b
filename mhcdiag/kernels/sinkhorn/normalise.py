"""The Sinkhorn-Knopp iteration behind one function: plain torch, Numba or Triton, with its gradient."""

from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mhcdiag.kernels.choice import (
    COMPILED_STREAMS,
    MANY_MATRICES,
    NO_NUMBA,
    NO_TRITON,
    Implementation,
    first_that_runs,
)
from mhcdiag.kernels.sinkhorn.interface import Matrices, Normalised, SinkhornKernel, SinkhornRule
from mhcdiag.kernels.sinkhorn.reference import ReferenceSinkhorn

Logits = Float[Tensor, "*batch row column token"]


def sinkhorn(logits: Logits, rule: SinkhornRule, *, matrices: int = 0) -> Logits:
    """Nearly doubly stochastic matrices from logits, differentiable where the rule has a gradient.

    Parameters
    ----------
    logits
        One matrix per token, tokens contiguous where speed matters; they are not changed.
    rule
        The variant of the iteration.
    matrices
        How many matrices the caller will normalise in all its calls: for few of them nothing is compiled.

    Returns
    -------
    Tensor
        Matrices of the same shape and element type; half precision is computed in float32.
    """
    assert rule.has_gradient or not (torch.is_grad_enabled() and logits.requires_grad)
    flat = logits.reshape(-1, *logits.shape[-3:])
    kernel = choose_sinkhorn(flat, matrices=matrices)
    if torch.is_grad_enabled() and flat.requires_grad:
        result: Tensor = _Differentiable.apply(flat, rule, kernel)  # type: ignore[no-untyped-call]
    else:
        result = kernel.forward(flat, rule, keep=False).result
    return result.reshape(logits.shape)


class _Differentiable(torch.autograd.Function):
    """The whole iteration as one node of the graph, where plain operations would be eighty."""

    @staticmethod
    def forward(ctx: Any, logits: Matrices, rule: SinkhornRule, kernel: SinkhornKernel) -> Matrices:
        """The matrices."""
        kept = kernel.forward(logits, rule, keep=True)
        ctx.save_for_backward(kept.start, kept.result, kept.sums)
        ctx.rule, ctx.kernel, ctx.dtype = rule, kernel, logits.dtype
        return kept.result.to(logits.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Matrices) -> tuple[Matrices, None, None]:
        """The gradient of the logits."""
        start, result, sums = ctx.saved_tensors
        kept = Normalised(result=result, start=start, sums=sums)
        return ctx.kernel.backward(gradient, kept, ctx.rule).to(ctx.dtype), None, None


@cache
def _numba() -> SinkhornKernel | None:
    try:
        from mhcdiag.kernels.sinkhorn.cpu import NumbaSinkhorn
    except NO_NUMBA:
        return None
    return NumbaSinkhorn()


@cache
def _triton() -> SinkhornKernel | None:
    try:
        from mhcdiag.kernels.gpu_launch import try_out
        from mhcdiag.kernels.sinkhorn.gpu import TritonSinkhorn

        try_out("cuda")
    except NO_TRITON:
        return None
    return TritonSinkhorn()


SINKHORN_KERNELS: tuple[Implementation[SinkhornKernel], ...] = (
    # Any number of streams: its loops over lines are not unrolled, and one compiled form serves all.
    Implementation(name="numba", load=_numba, device="cpu", more_than=MANY_MATRICES),
    Implementation(name="triton", load=_triton, device="cuda", streams=COMPILED_STREAMS),
    Implementation(name="torch", load=ReferenceSinkhorn),
)
"""The fastest first."""


def choose_sinkhorn(logits: Tensor, *, matrices: int) -> SinkhornKernel:
    """The implementation for one kind of Sinkhorn-Knopp iteration.

    Parameters
    ----------
    logits
        What is to be normalised, [..., row, column, token].
    matrices
        How many of them come in all calls together.
    """
    device, streams = logits.device.type, logits.shape[-2]
    return first_that_runs(SINKHORN_KERNELS, device=device, streams=streams, matrices=matrices)
