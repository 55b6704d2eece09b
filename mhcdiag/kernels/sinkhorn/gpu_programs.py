"""Sinkhorn-Knopp as Triton programs: each token's matrix in registers from the first step to the last.

One program takes `TOKENS` tokens of one matrix. Entry (i, j) is a vector of tokens, loaded once; nothing but logits and
results touches memory, besides the sums of each step where the gradient will need them. Tuples grow by `+`, since
Triton knows neither lists nor assignments to an entry.
"""

import triton
import triton.language as tl


@triton.jit
def _load(base, streams_stride_row, streams_stride_column, places, valid, n: tl.constexpr, dtype: tl.constexpr):
    """A matrix as `n * n` vectors of tokens; ones beyond the last token, which divide without harm."""
    matrix = ()
    for i in tl.static_range(0, n):
        for j in tl.static_range(0, n):
            entry = base + i * streams_stride_row + j * streams_stride_column
            matrix = matrix + (tl.load(entry + places, mask=valid, other=1.0).to(dtype),)
    return matrix


@triton.jit
def _store(base, matrix, rows, valid, tokens, n: tl.constexpr):
    for k in tl.static_range(0, n * n):
        tl.store(base + k * tokens + rows, matrix[k].to(base.dtype.element_ty), mask=valid)


@triton.jit
def _line_sums(matrix, n: tl.constexpr, columns: tl.constexpr):
    sums = ()
    for line in tl.static_range(0, n):
        total = matrix[line] if columns else matrix[line * n]
        for k in tl.static_range(1, n):
            total = total + (matrix[k * n + line] if columns else matrix[line * n + k])
        sums = sums + (total,)
    return sums


@triton.jit
def _largest(matrix, n: tl.constexpr, columns: tl.constexpr):
    found = ()
    for line in tl.static_range(0, n):
        high = matrix[line] if columns else matrix[line * n]
        for k in tl.static_range(1, n):
            high = tl.maximum(high, matrix[k * n + line] if columns else matrix[line * n + k])
        found = found + (high,)
    return found


@triton.jit
def _guard(sums, eps, n: tl.constexpr, guard: tl.constexpr):
    found = ()
    for line in tl.static_range(0, n):
        if guard == 0:
            total = sums[line] + eps
        elif guard == 1:
            total = tl.maximum(sums[line], eps, propagate_nan=tl.PropagateNan.ALL)
        else:
            total = tl.where(sums[line] <= eps, 1.0, sums[line])
        found = found + (total,)
    return found


@triton.jit
def _divide(matrix, sums, n: tl.constexpr, columns: tl.constexpr):
    inverse = ()
    for line in tl.static_range(0, n):
        inverse = inverse + (1.0 / sums[line],)  # one division a line in place of one an entry
    found = ()
    for i in tl.static_range(0, n):
        for j in tl.static_range(0, n):
            found = found + (matrix[i * n + j] * inverse[j if columns else i],)
    return found


@triton.jit
def _shifted_exp(matrix, n: tl.constexpr, shift_columns: tl.constexpr, shift_rows: tl.constexpr):
    """The exponential after the maximum of each line was subtracted: of columns, of rows, or of everything."""
    if shift_columns or shift_rows:
        highest = _largest(matrix, n, shift_columns)
        if shift_columns and shift_rows:
            high = highest[0]
            for line in tl.static_range(1, n):
                high = tl.maximum(high, highest[line])
    found = ()
    for i in tl.static_range(0, n):
        for j in tl.static_range(0, n):
            entry = matrix[i * n + j]
            if shift_columns and shift_rows:
                entry = entry - high
            elif shift_columns or shift_rows:
                entry = entry - highest[j if shift_columns else i]
            found = found + (tl.exp(entry),)
    return found


@triton.jit
def _step(
    matrix, eps, sums, step, rows, valid, tokens,
    n: tl.constexpr, columns: tl.constexpr, guard: tl.constexpr, keep: tl.constexpr,
):  # fmt: skip
    totals = _guard(_line_sums(matrix, n, columns), eps, n, guard)
    if keep:
        for line in tl.static_range(0, n):
            tl.store(sums + (step * n + line) * tokens + rows, totals[line], mask=valid)
    return _divide(matrix, totals, n, columns)


@triton.jit
def forward_program(
    logits, matrix_stride, row_stride, column_stride, token_stride, tokens,
    result, starts, sums, eps, limit, pairs,
    n: tl.constexpr, TOKENS: tl.constexpr, dtype: tl.constexpr, softmax: tl.constexpr, columns_first: tl.constexpr,
    guard: tl.constexpr, shift_columns: tl.constexpr, shift_rows: tl.constexpr, cut: tl.constexpr, keep: tl.constexpr,
):  # fmt: skip
    """Normalise `TOKENS` tokens of one matrix.

    Parameters
    ----------
    logits
        Element (m, i, j, t) lies the strides away.
    result
        Written: [matrix, row, column, token].
    starts, sums
        Written if `keep`: the softmax as `result`, and [matrix, step, line, token], the denominators.
    eps, limit
        As in the rule; `limit` counts only if `cut`.
    pairs
        Steps over (second, first) axis after the softmax and its first step; else over (first, second) axis.
    """
    rows = tl.program_id(0).to(tl.int64) * TOKENS + tl.arange(0, TOKENS)
    which = tl.program_id(1).to(tl.int64)
    valid = rows < tokens
    matrix = _load(logits + which * matrix_stride, row_stride, column_stride, rows * token_stride, valid, n, dtype)
    result += which * n * n * tokens
    eps = tl.full((), eps, dtype)
    if keep:
        starts += which * n * n * tokens
        sums += which * (2 * pairs + (1 if softmax else 0)) * n * tokens
    if softmax:
        # The softmax runs over the axis that the first step does not normalise.
        matrix = _shifted_exp(matrix, n, not columns_first, columns_first)
        matrix = _divide(matrix, _line_sums(matrix, n, not columns_first), n, not columns_first)
        if keep:
            _store(starts, matrix, rows, valid, tokens, n)
        start = ()
        for k in tl.static_range(0, n * n):
            start = start + (matrix[k] + eps,)
        matrix = _step(start, eps, sums, 0, rows, valid, tokens, n, columns_first, guard, keep)
    else:
        start = ()
        for k in tl.static_range(0, n * n):
            entry = matrix[k]
            if cut:
                entry = tl.minimum(tl.maximum(entry, -limit, propagate_nan=tl.PropagateNan.ALL), limit,
                                   propagate_nan=tl.PropagateNan.ALL)  # fmt: skip
            start = start + (entry,)
        matrix = _shifted_exp(start, n, shift_columns, shift_rows)
    # Two steps a turn, since which side is normalised must be known while it is compiled; the loop itself stays a loop.
    for pair in range(pairs):
        step = 2 * pair + (1 if softmax else 0)
        earlier: tl.constexpr = (not columns_first) if softmax else columns_first
        matrix = _step(matrix, eps, sums, step, rows, valid, tokens, n, earlier, guard, keep)
        matrix = _step(matrix, eps, sums, step + 1, rows, valid, tokens, n, not earlier, guard, keep)
    _store(result, matrix, rows, valid, tokens, n)


@triton.jit
def _back_step(gradient, matrix, sums, step, rows, valid, tokens, n: tl.constexpr, columns: tl.constexpr):
    """Gradient and matrix before one step, from those after it."""
    weighted = ()
    for k in tl.static_range(0, n * n):
        weighted = weighted + (gradient[k] * matrix[k],)
    inner = _line_sums(weighted, n, columns)
    totals = ()
    for line in tl.static_range(0, n):
        totals = totals + (tl.load(sums + (step * n + line) * tokens + rows, mask=valid, other=1.0),)
    moved = ()
    before = ()
    for i in tl.static_range(0, n):
        for j in tl.static_range(0, n):
            moved = moved + (gradient[i * n + j] - inner[j if columns else i],)
            before = before + (matrix[i * n + j] * totals[j if columns else i],)
    return _divide(moved, totals, n, columns), before


@triton.jit
def backward_program(
    gradients, result, starts, sums, found, tokens, pairs,
    n: tl.constexpr, TOKENS: tl.constexpr, columns_first: tl.constexpr,
):  # fmt: skip
    """The gradient of the logits for `TOKENS` tokens of one matrix, for the softmax start with eps added.

    Parameters
    ----------
    gradients, result, starts
        [matrix, row, column, token], that of the result, and what `forward_program` kept.
    sums, pairs
        As `forward_program` wrote and took them.
    found
        Written: as `gradients`.
    """
    rows = tl.program_id(0).to(tl.int64) * TOKENS + tl.arange(0, TOKENS)
    valid = rows < tokens
    which = tl.program_id(1).to(tl.int64)
    offset = which * n * n * tokens
    dtype: tl.constexpr = result.dtype.element_ty
    gradient = _load(gradients + offset, n * tokens, tokens, rows, valid, n, dtype)
    matrix = _load(result + offset, n * tokens, tokens, rows, valid, n, dtype)
    sums += which * (2 * pairs + 1) * n * tokens
    for back in range(pairs):
        step = 2 * (pairs - back)
        gradient, matrix = _back_step(gradient, matrix, sums, step, rows, valid, tokens, n, columns_first)
        gradient, matrix = _back_step(gradient, matrix, sums, step - 1, rows, valid, tokens, n, not columns_first)
    gradient, matrix = _back_step(gradient, matrix, sums, 0, rows, valid, tokens, n, columns_first)
    start = _load(starts + offset, n * tokens, tokens, rows, valid, n, dtype)
    weighted = ()
    for k in tl.static_range(0, n * n):
        weighted = weighted + (gradient[k] * start[k],)
    inner = _line_sums(weighted, n, not columns_first)
    slopes = ()
    for i in tl.static_range(0, n):
        for j in tl.static_range(0, n):
            slopes = slopes + (weighted[i * n + j] - start[i * n + j] * inner[i if columns_first else j],)
    _store(found + offset, slopes, rows, valid, tokens, n)
