"""Sinkhorn-Knopp as loops for Numba, over blocks of tokens that stay in the cache: tokens inside, as vectors."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numba
import torch

from mhcdiag.kernels.choice import share, widened
from mhcdiag.kernels.sinkhorn.interface import COLUMNS, Guard, Matrices, Normalised, SinkhornRule
from mhcdiag.kernels.sinkhorn.reference import raised, start_of, through_softmax

# As in `composite.cpu_loops`, all constants of the loops stand in their own file.
BLOCK = 128
"""Tokens that are normalised together: wide enough for vector instructions, small enough for the first cache."""
ADDED, FLOOR, SKIP = range(3)
"""What eps does in a denominator, as in `Guard`."""

# Divisions bound this loop, not memory: `arcp` allows products with reciprocals. Not `reassoc`: a sum over a line has n
# terms, one after the other, and tokens are the vectors. `error_model="numpy"` leaves out the checks for a division by
# zero, which would keep loops from being vectors.
_whole = numba.njit(cache=True, nogil=True, fastmath={"contract", "arcp", "nsz"}, error_model="numpy")


@_whole
def forward(
    first: int, last: int, start: Any, eps: Any, guard: int, columns_first: int, steps: int, sums: Any, result: Any
) -> None:
    """Normalise the blocks first..last-1, counted over the tokens of each matrix in turn.

    Parameters
    ----------
    start
        Positive matrices [matrix, row, column, token].
    eps, guard
        eps in the element type of the matrices, and what it does.
    columns_first
        1 where the first step normalises columns, 0 where it is rows.
    sums
        Written: [matrix, step, line, token], the denominators; with one step only, each overwrites the one before.
    result
        Written: as `start`.
    """
    streams, tokens = start.shape[1], start.shape[3]
    blocks = -(-tokens // BLOCK)
    for block in range(first, last):
        m, begin = block // blocks, block % blocks * BLOCK
        end = min(begin + BLOCK, tokens)
        result[m, :, :, begin:end] = start[m, :, :, begin:end]
        for step in range(steps):
            columns = (step + columns_first) % 2
            for line in range(streams):
                total = sums[m, step % sums.shape[1], line, begin:end]
                total[:] = eps if guard == ADDED else 0
                for k in range(streams):
                    entry = result[m, k, line, begin:end] if columns else result[m, line, k, begin:end]
                    for t in range(end - begin):
                        total[t] += entry[t]
                if guard == FLOOR:
                    for t in range(end - begin):
                        total[t] = eps if total[t] < eps else total[t]
                elif guard == SKIP:
                    for t in range(end - begin):
                        total[t] = 1 if total[t] <= eps else total[t]
                for k in range(streams):
                    entry = result[m, k, line, begin:end] if columns else result[m, line, k, begin:end]
                    for t in range(end - begin):
                        entry[t] /= total[t]


@_whole
def backward(
    first: int, last: int, gradient: Any, result: Any, columns_first: int, steps: int, sums: Any, found: Any
) -> None:
    """The gradient at the start of `forward` with `ADDED`, for the blocks first..last-1.

    Parameters
    ----------
    gradient
        That of the result.
    result, sums, columns_first
        As `forward` left and took them.
    found
        Written: as `gradient`.
    """
    streams, tokens = result.shape[1], result.shape[3]
    blocks = -(-tokens // BLOCK)
    for block in range(first, last):
        m, begin = block // blocks, block % blocks * BLOCK
        end = min(begin + BLOCK, tokens)
        found[m, :, :, begin:end] = gradient[m, :, :, begin:end]
        # The matrix is taken back step by step, K = Y s, in place of n^2 kept numbers a step.
        matrix = result[m, :, :, begin:end].copy()
        inner = matrix[0, 0].copy()
        for step in range(steps - 1, -1, -1):
            columns = (step + columns_first) % 2
            for line in range(streams):
                total = sums[m, step, line, begin:end]
                inner[:] = 0
                for k in range(streams):
                    entry = matrix[k, line] if columns else matrix[line, k]
                    slope = found[m, k, line, begin:end] if columns else found[m, line, k, begin:end]
                    for t in range(end - begin):
                        inner[t] += entry[t] * slope[t]
                for k in range(streams):
                    entry = matrix[k, line] if columns else matrix[line, k]
                    slope = found[m, k, line, begin:end] if columns else found[m, line, k, begin:end]
                    for t in range(end - begin):
                        slope[t] = (slope[t] - inner[t]) / total[t]
                        entry[t] *= total[t]


_GUARDS = {Guard.ADDED: ADDED, Guard.FLOOR: FLOOR, Guard.SKIP: SKIP}


@dataclass(frozen=True, slots=True)
class NumbaSinkhorn:
    """See `SinkhornKernel`; any number of streams."""

    name: ClassVar[str] = "numba"

    def forward(self, logits: Matrices, rule: SinkhornRule, *, keep: bool) -> Normalised:
        """See `SinkhornKernel`."""
        start = start_of(widened(logits.detach()), rule)
        matrix = raised(start, rule, keep=keep).contiguous()
        count, streams, _, tokens = matrix.shape
        sums = matrix.new_empty(count, rule.steps if keep else 1, streams, tokens)
        result = torch.empty_like(matrix) if keep else matrix
        eps = matrix.new_tensor(rule.eps).numpy()[()]  # a plain float would make every sum a float64
        fixed = (eps, _GUARDS[rule.guard], int(rule.first == COLUMNS), rule.steps)
        arguments = (matrix.numpy(), *fixed, sums.numpy(), result.numpy())
        share(forward, count * -(-tokens // BLOCK), arguments)
        if keep:
            return Normalised(result=result, start=start, sums=sums)
        return Normalised(result=result.to(logits.dtype))

    def backward(self, gradient: Matrices, kept: Normalised, rule: SinkhornRule) -> Matrices:
        """See `SinkhornKernel`."""
        assert kept.sums is not None
        result = kept.result
        found = torch.empty_like(result)
        given = gradient.to(result.dtype).contiguous()
        fixed = (int(rule.first == COLUMNS), rule.steps)
        arguments = (given.numpy(), result.numpy(), *fixed, kept.sums.numpy(), found.numpy())
        share(backward, len(result) * -(-result.shape[-1] // BLOCK), arguments)
        return through_softmax(found, kept, rule)
