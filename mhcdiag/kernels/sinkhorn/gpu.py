"""Sinkhorn-Knopp on GPUs: one Triton program takes a block of tokens through all iterations.

Twenty iterations in plain torch are a hundred and more operations, each of which reads and writes every matrix.
"""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

import torch
import triton
import triton.language as tl

from mhcdiag.kernels.gpu_launch import device_of
from mhcdiag.kernels.sinkhorn.gpu_programs import backward_program, forward_program
from mhcdiag.kernels.sinkhorn.interface import COLUMNS, ROWS, Guard, Matrices, Normalised, SinkhornRule, Start

WARPS = 4
"""Warps of a program: no token needs another one's numbers, so that any number would do."""
_GUARDS = {Guard.ADDED: 0, Guard.FLOOR: 1, Guard.SKIP: 2}
"""As `gpu_programs` counts them: a program takes numbers, not enums."""


@dataclass(frozen=True, slots=True)
class TritonSinkhorn:
    """See `SinkhornKernel`; each number of streams is a compilation of its own, with loops over entries unrolled."""

    name: ClassVar[str] = "triton"

    def forward(self, logits: Matrices, rule: SinkhornRule, *, keep: bool) -> Normalised:
        """See `SinkhornKernel`."""
        count, streams, _, tokens = logits.shape
        wide = torch.float64 if logits.dtype == torch.float64 else torch.float32
        result = logits.new_empty(logits.shape, dtype=wide if keep else logits.dtype)
        starts = torch.empty_like(result) if keep else result
        sums = result.new_empty((count, rule.steps, streams, tokens)) if keep else result
        block = tokens_of_a_program(streams)
        with device_of(logits):
            forward_program[(triton.cdiv(tokens, block), count)](
                logits, *logits.stride(), tokens,
                result, starts, sums, rule.eps, rule.limit if rule.limit < inf else 0.0, rule.steps // 2,
                n=streams, TOKENS=block, dtype=tl.float64 if wide == torch.float64 else tl.float32,
                softmax=rule.start is Start.SOFTMAX, columns_first=rule.first == COLUMNS, guard=_GUARDS[rule.guard],
                shift_columns=COLUMNS in rule.shift, shift_rows=ROWS in rule.shift, cut=rule.limit < inf, keep=keep,
                num_warps=WARPS,
            )  # fmt: skip
        return Normalised(result=result, start=starts if keep else None, sums=sums if keep else None)

    def backward(self, gradient: Matrices, kept: Normalised, rule: SinkhornRule) -> Matrices:
        """See `SinkhornKernel`."""
        count, streams, _, tokens = kept.result.shape
        found = torch.empty_like(kept.result)
        block = tokens_of_a_program(streams) // 2  # gradient and matrix fill twice the registers
        with device_of(gradient):
            backward_program[(triton.cdiv(tokens, block), count)](
                gradient.contiguous(), kept.result, kept.start, kept.sums, found, tokens, rule.steps // 2,
                n=streams, TOKENS=block, columns_first=rule.first == COLUMNS, num_warps=block // 32,
            )  # fmt: skip
        return found


def tokens_of_a_program(streams: int) -> int:
    """Two tokens a thread, so that half precision moves in whole words; one where eight streams fill the registers."""
    return 32 * WARPS * (2 if streams <= 4 else 1)
