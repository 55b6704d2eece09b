"""Sinkhorn-Knopp as loops for Numba, over blocks of tokens that stay in the cache: tokens inside, as vectors."""

from typing import Any

import numba

BLOCK = 128
"""Tokens that are normalised together: wide enough for vector instructions, small enough for the first cache."""
ADDED, FLOOR, SKIP = range(3)
"""What eps does in a denominator, as in `Guard`."""

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
