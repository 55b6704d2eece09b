"""Loops over a block of tokens that a compiler turns into vector instructions: tokens inside, matrix entries unrolled.

A block is `BLOCK` tokens, stored entry by entry: entry (i, j) of token t stands at `(i * n + j) * BLOCK + t`. The
number of streams n comes as a tuple of n zeros: its length is part of its type, hence a constant of the compiled code,
so that loops over entries unroll and loops over tokens become vector instructions. Tokens beyond the last one of a
chunk are filled with copies of the last, and never counted.

None of these loops scales its products, and comparisons may lose a NaN: the caller learns whether all mappings were
finite and how small and large the gains became, and takes the reference where that is not safe.
"""

from typing import Any

import numba
import numpy

# All constants stand in this file: Numba compiles them in, and renews its cache only where this very file has changed.
BLOCK = 128
"""Tokens of one block: memory is then read in runs of two pages a site (n = 4, float32), which pays more than keeping
the mappings of 122 sites in a core's second-level cache would."""
KEYS = 4
"""Directions times definitions: forward amax, forward norm, backward amax, backward norm, as in `interface.KEYS`."""
FORWARD_NORM = 1
"""The key that bounds all entries of a product, by which the caller judges whether it was safe."""
SUM, MAXIMUM, MINIMUM = range(3)
"""Places of the reduced numbers."""

# Without `reassoc` a sum over tokens must be formed one after the other, and is no vector; `contract` fuses products
# with sums; `nsz` lets -0 be 0. Not `nnan` and `ninf`, which `fastmath=True` has: `_is_finite` would be a constant.
_FAST = {"contract", "reassoc", "nsz"}

_block = numba.njit(fastmath=_FAST, error_model="numpy", cache=True)
_whole = numba.njit(fastmath=_FAST, error_model="numpy", cache=True, nogil=True)


@numba.njit(inline="always")
def _larger(a: Any, b: Any) -> Any:
    return a if a > b else b  # the one form that becomes a single instruction


@_block
def _reduce(gains: Any, bits: Any, count: int, extremes: Any, extreme_bits: Any, found: Any) -> None:
    """Sum and largest of each of the `KEYS` gains over the first `count` tokens, and the smallest forward norm.

    Non-negative floats sort like the whole numbers with the same bits, and NaN above all: unlike comparisons of floats,
    those of whole numbers become vectors.

    Parameters
    ----------
    gains, bits
        [key, token] of one block, and the same memory as whole numbers.
    count
        Tokens that count; those beyond are copies, which change no extreme.
    extremes, extreme_bits
        Room for two floats, seen both ways.
    found
        Written: [3, KEYS].
    """
    for key in range(KEYS):
        first = key * BLOCK
        total = gains.dtype.type(0)
        for t in range(count):
            total += gains[first + t]
        high = bits[first]
        for t in range(BLOCK):
            high = max(high, bits[first + t])
        extreme_bits[0] = high
        found[SUM, key], found[MAXIMUM, key] = total, extremes[0]
    low = bits[FORWARD_NORM * BLOCK]
    for t in range(BLOCK):
        low = min(low, bits[FORWARD_NORM * BLOCK + t])
    extreme_bits[1] = low
    found[MINIMUM, FORWARD_NORM] = extremes[1]


@_block
def _add_entries(matrices: Any, count: int, found: Any) -> None:
    """Sum over the first `count` tokens of each entry."""
    for entry in range(found.shape[0]):
        of_entry = matrices[entry * BLOCK : (entry + 1) * BLOCK]
        total = matrices.dtype.type(0)
        for t in range(count):
            total += of_entry[t]
        found[entry] = total


@_block
def _load(tokens: Any, token_stride: int, entry_stride: int, count: int, room: Any, block: Any, streams: Any) -> None:
    """One block of the mappings of a site, entry after entry, whatever their order in memory.

    Parameters
    ----------
    tokens
        The mappings from the first token of the block on, as a flat buffer with these strides.
    count
        Tokens that are there; the others become copies of the last.
    room
        Scratch, as large as the block.
    block
        Written.
    streams
        A tuple of n zeros.
    """
    n = len(streams)
    entries = n * n
    if token_stride == entries and entry_stride == 1 and count == BLOCK:  # what files hold: matrix after matrix
        # By column first, then each column's entries by row: n places at a time are shuffles of vectors, n * n are not.
        _deinterleave(tokens, n * BLOCK, room, n * BLOCK, streams)
        for k in range(n):
            _deinterleave(room[k * n * BLOCK :], BLOCK, block[k * BLOCK :], n * BLOCK, streams)
        return
    if token_stride == 1:  # what is computed here: entry after entry
        for k in range(entries):
            _copy(tokens[k * entry_stride :], block[k * BLOCK :], count)
    else:
        token = numpy.uint64(0)  # unsigned: for signed numbers every access would ask whether to count from the end
        for t in range(count):
            position = token
            for k in range(entries):
                block[k * BLOCK + t] = tokens[position]
                position += numpy.uint64(entry_stride)
            token += numpy.uint64(token_stride)
    for k in range(entries):
        for t in range(count, BLOCK):
            block[k * BLOCK + t] = block[k * BLOCK + count - 1]


@_block
def _deinterleave(source: Any, rounds: int, target: Any, stride: int, streams: Any) -> None:
    """Write every n-th number to a run of its own, the runs `stride` apart."""
    n = len(streams)
    for turn in range(numpy.uint64(rounds)):
        for k in range(n):
            # Unsigned, as in `_load`.
            target[turn + numpy.uint64(k * stride)] = source[turn * numpy.uint64(n) + numpy.uint64(k)]


@_block
def _copy(source: Any, target: Any, count: int) -> None:
    for t in range(count):  # assigning a slice would check for overlaps each time
        target[t] = source[t]


@_block
def _is_finite(block: Any) -> bool:
    nothing = block.dtype.type(0)
    total = nothing
    for position in range(block.shape[0]):
        total += block[position] * nothing  # of NaN and infinity NaN: unlike comparisons, sums become vectors
    finite: bool = total == nothing
    return finite


@_block
def _multiply(left: Any, right: Any, out: Any, streams: Any) -> None:
    n = len(streams)
    # `j` and `k` are unrolled inside the tokens: row i of `left` is then loaded once, and no sum goes through memory.
    for i in range(n):
        for t in range(BLOCK):
            for j in range(n):
                total = left[i * n * BLOCK + t] * right[j * BLOCK + t]
                for k in range(1, n):
                    total += left[(i * n + k) * BLOCK + t] * right[(k * n + j) * BLOCK + t]
                out[(i * n + j) * BLOCK + t] = total


@_block
def _measure(matrices: Any, gains: Any, streams: Any) -> None:
    n = len(streams)
    for i in range(n):  # outside the tokens: with all of n = 8 unrolled inside them, nothing becomes a vector
        for t in range(BLOCK):
            row = matrices[i * n * BLOCK + t]
            column = matrices[i * BLOCK + t]
            row_size, column_size = abs(row), abs(column)
            for j in range(1, n):
                along, down = matrices[(i * n + j) * BLOCK + t], matrices[(j * n + i) * BLOCK + t]
                row += along
                row_size += abs(along)
                column += down
                column_size += abs(down)
            if i == 0:
                gains[t], gains[BLOCK + t] = abs(row), row_size
                gains[2 * BLOCK + t], gains[3 * BLOCK + t] = abs(column), column_size
            else:
                gains[t] = _larger(abs(row), gains[t])
                gains[BLOCK + t] = _larger(row_size, gains[BLOCK + t])
                gains[2 * BLOCK + t] = _larger(abs(column), gains[2 * BLOCK + t])
                gains[3 * BLOCK + t] = _larger(column_size, gains[3 * BLOCK + t])


@_whole
def composites(
    maps: Any,
    layout: Any,
    streams: Any,
    whole: Any,
    first: int,
    last: int,
    reduced: Any,
    entry_sums: Any,
    per_token: Any,
    finite: Any,
) -> None:
    """Gains of single, prefix and suffix products in the blocks first..last-1.

    Parameters
    ----------
    maps
        H_res as a flat buffer: one compiled form then serves every order of axes.
    layout
        (sites, tokens, site stride, token stride, entry stride).
    streams
        A tuple of n zeros.
    whole
        An array without sign and of the same width as the mappings' numbers; only its type matters.
    reduced
        Written: [block, kind, site, 3, KEYS], sum and largest over tokens; smallest for the forward norm only.
    entry_sums
        Written unless empty: [block, kind, site, entry], sums over tokens.
    per_token
        Written unless empty: [kind, KEYS, site, token].
    finite
        Written: [block], whether all mappings are finite.
    """
    sites, tokens, site_stride, token_stride, entry_stride = layout
    entries = len(streams) * len(streams)
    block = numpy.empty((sites, entries * BLOCK), maps.dtype)
    products = numpy.empty((2, entries * BLOCK), maps.dtype)
    gains = numpy.empty(KEYS * BLOCK, maps.dtype)
    bits, extremes = gains.view(whole.dtype), numpy.empty(2, maps.dtype)
    extreme_bits = extremes.view(whole.dtype)
    room = numpy.empty(entries * BLOCK, maps.dtype)
    for b in range(first, last):
        start = b * BLOCK
        count = min(BLOCK, tokens - start)
        finite[b] = True
        # Singles and prefixes go up through the sites in turn, then suffixes down over what was loaded.
        for step in range(3 * sites):
            kind = step % 2 if step < 2 * sites else 2
            site = step // 2 if step < 2 * sites else 3 * sites - 1 - step
            mapping, here, before = block[site], products[site % 2], products[1 - site % 2]
            if kind == 0:
                from_here = maps[site * site_stride + start * token_stride :]
                _load(from_here, token_stride, entry_stride, count, room, mapping, streams)
                finite[b] = finite[b] and _is_finite(mapping)
            elif (kind == 1 and site == 0) or (kind == 2 and site == sites - 1):
                here[:] = mapping
            elif kind == 1:
                _multiply(mapping, before, here, streams)
            else:
                _multiply(before, mapping, here, streams)
            matrices = mapping if kind == 0 else here
            _measure(matrices, gains, streams)
            _reduce(gains, bits, count, extremes, extreme_bits, reduced[b, kind, site])
            if entry_sums.size:
                _add_entries(matrices, count, entry_sums[b, kind, site])
            if per_token.size:
                for key in range(KEYS):
                    _copy(gains[key * BLOCK :], per_token[kind, key, site, start:], count)


@_whole
def spans(
    maps: Any, layout: Any, streams: Any, whole: Any, first: int, last: int, sums: Any, range_of_gains: Any
) -> None:
    """Gains of all P(a,b) in the blocks first..last-1.

    Parameters
    ----------
    maps, layout, streams, whole
        As in `composites`.
    sums
        Written where a <= b: [block, a, b, KEYS], sums over tokens.
    range_of_gains
        Written: [block, 2], the smallest and the largest forward norm gain of all spans and tokens.
        NaN where a mapping is not finite.
    """
    sites, tokens, site_stride, token_stride, entry_stride = layout
    entries = len(streams) * len(streams)
    stack = numpy.empty((sites, entries * BLOCK), maps.dtype)  # entry a holds P(a,b) for the current b
    mapping = numpy.empty(entries * BLOCK, maps.dtype)
    product = numpy.empty(entries * BLOCK, maps.dtype)
    gains = numpy.empty(KEYS * BLOCK, maps.dtype)
    bits, extremes = gains.view(whole.dtype), numpy.empty(2, maps.dtype)
    extreme_bits = extremes.view(whole.dtype)
    room = numpy.empty(entries * BLOCK, maps.dtype)
    reduced = numpy.empty((3, KEYS), numpy.float64)
    for block in range(first, last):
        start = block * BLOCK
        count = min(BLOCK, tokens - start)
        low, high = numpy.inf, 0.0
        finite = True
        for b in range(sites):
            from_here = maps[b * site_stride + start * token_stride :]
            _load(from_here, token_stride, entry_stride, count, room, mapping, streams)
            finite = finite and _is_finite(mapping)
            stack[b] = mapping
            for a in range(b + 1):
                if a < b:
                    _multiply(mapping, stack[a], product, streams)
                    stack[a] = product
                _measure(stack[a], gains, streams)
                _reduce(gains, bits, count, extremes, extreme_bits, reduced)
                sums[block, a, b] = reduced[SUM]
                low = min(low, reduced[MINIMUM, FORWARD_NORM])
                high = max(high, reduced[MAXIMUM, FORWARD_NORM])
        range_of_gains[block, 0], range_of_gains[block, 1] = low, high if finite else numpy.nan
