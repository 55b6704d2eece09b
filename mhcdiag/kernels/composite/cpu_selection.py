"""Order statistics and logarithmic histograms of rows of non-negative numbers, as loops for Numba.

Two ranks of a row are found by counting: the range of its values, seen as whole numbers, is cut into `PARTS`, and only
the values of the two parts that hold the ranks are sorted.
"""

from typing import Any

import numba
import numpy

from mhcdiag.kernels.composite.interface import BINS, bin_bounds

# Tables are handed to the loops, and no constant comes from another file: Numba compiles constants in, and renews its
# cache only where the file of the loop itself has changed.
PARTS = 1024
"""Parts into which the range of a row is cut: their counts, 4 KB, stay in the first cache."""
FEW = 64
"""Values up to which sorting by insertion, which allocates nothing, is faster."""
GUESSES = 1024
"""Parts of an octave, four to a bin: the bin of a value is its part's first one, or the next."""

_rows = numba.njit(error_model="numpy", cache=True, nogil=True)

BOUNDS = numpy.array([*bin_bounds(), 2.0])
FIRST_GUESS = numpy.searchsorted(BOUNDS, 1 + numpy.arange(GUESSES) / GUESSES, side="right") - 1
"""Bin of the smallest mantissa with the same first 10 bits."""


@_rows
def select(first: int, last: int, bits: Any, ranks: Any, found: Any, largest: Any) -> None:
    """Order statistics of the rows first..last-1.

    Parameters
    ----------
    bits
        Non-negative floats [row, token], seen as whole numbers without sign of the same width: these sort alike.
    ranks
        Two of them, counted from 1, ascending.
    found
        Written: [row, rank], as whole numbers.
    largest
        Written: [row], the largest whole number: above that of infinity where a float was NaN or negative.
    """
    tokens = bits.shape[1]
    counts = numpy.empty(PARTS, numpy.int32)
    parts = numpy.empty(tokens, numpy.uint16)
    words = numpy.empty(-(-tokens // 8), numpy.uint64)
    words[:] = 0
    wanted = words.view(numpy.uint8)
    one, other = numpy.empty(tokens, bits.dtype), numpy.empty(tokens, bits.dtype)
    for row in range(first, last):
        values = bits[row]
        low = high = values[0]
        for t in range(tokens):
            low, high = min(low, values[t]), max(high, values[t])
        largest[row] = high
        shift = bits.dtype.type(0)
        while (high - low) >> shift >= PARTS:
            shift += bits.dtype.type(1)
        for t in range(tokens):
            parts[t] = numpy.uint16((values[t] - low) >> shift)
        counts[:] = 0
        # A loop of its own: the one before becomes vectors, and would not with an increment at a random place in it.
        for t in range(tokens):
            counts[numpy.uint64(parts[t])] += 1
        lower_part, lower_below = _part_of(ranks[0], counts, 0, 0)
        upper_part, upper_below = _part_of(ranks[1], counts, lower_part, lower_below)
        if shift == 0:  # every part is one value, as where all gains are 1 but for rounding
            found[row, 0], found[row, 1] = low + bits.dtype.type(lower_part), low + bits.dtype.type(upper_part)
            continue
        lower, upper = numpy.uint16(lower_part), numpy.uint16(upper_part)
        for t in range(tokens):
            wanted[t] = (parts[t] == lower) | (parts[t] == upper)
        taken = kept = 0
        for word in range(words.shape[0]):
            if words[word] == 0:  # most of them, eight values at once
                continue
            for t in range(8 * word, min(8 * word + 8, tokens)):
                # Written first and kept only if it belongs: a branch that is taken at random would cost more.
                one[taken] = values[t]
                taken += int(parts[t] == lower)
                other[kept] = values[t]
                kept += int(parts[t] == upper)
        found[row, 0] = _of_rank(one, taken, ranks[0] - lower_below - 1)
        found[row, 1] = _of_rank(other, kept, ranks[1] - upper_below - 1)


@numba.njit(error_model="numpy", cache=True)
def _part_of(rank: int, counts: Any, part: int, below: int) -> tuple[int, int]:
    """The part that holds a rank, and how many values lie below it; counting goes on from a part at or before it."""
    while below + counts[part] < rank:
        below += counts[part]
        part += 1
    return part, below


@numba.njit(error_model="numpy", cache=True)
def _of_rank(values: Any, count: int, rank: int) -> Any:
    """The value of a rank, counted from 0, among the first `count`, which may change places."""
    if count > FEW:
        return numpy.sort(values[:count])[rank]
    for i in range(1, count):
        value, j = values[i], i
        while j > 0 and values[j - 1] > value:
            values[j] = values[j - 1]
            j -= 1
        values[j] = value
    return values[rank]


@_rows
def extent(first: int, last: int, bits: Any, smallest: Any, largest: Any) -> None:
    """Smallest and largest whole number of each of the rows first..last-1 of `bits`; 0 does not count as smallest."""
    for row in range(first, last):
        values = bits[row]
        low, high = bits.dtype.type(0) - bits.dtype.type(1), bits.dtype.type(0)
        for t in range(values.shape[0]):
            # 0 less 1 is the largest number without sign.
            low, high = min(low, values[t] - bits.dtype.type(1)), max(high, values[t])
        smallest[row], largest[row] = low + bits.dtype.type(1), high


@_rows
def count(first: int, last: int, bits: Any, guesses: Any, bounds: Any, lowest: int, counts: Any, zeros: Any) -> None:
    """Bins of the rows first..last-1, all values 0 or finite, normal and within the octaves of `counts`.

    Parameters
    ----------
    bits
        [row, token], values in float64 seen as whole numbers without sign.
    guesses, bounds
        `FIRST_GUESS` and `BOUNDS`.
    lowest
        Octave of the first entry of `counts`.
    counts
        Added to: [row, octave, bin].
    zeros
        Added to: [row].
    """
    for row in range(first, last):
        for t in range(bits.shape[1]):
            pattern = bits[row, t]
            if pattern == 0:
                zeros[row] += 1
                continue
            octave = numpy.int64(pattern >> numpy.uint64(52)) - 1023 - lowest
            fraction = pattern & numpy.uint64((1 << 52) - 1)
            mantissa = 1.0 + fraction * 2.0**-52
            part = guesses[fraction >> numpy.uint64(42)]
            while mantissa >= bounds[part + 1]:
                part += 1
            counts[row, octave, part] += 1


def empty_counts(rows: int, octaves: int) -> numpy.ndarray:
    """Counts that `count` adds to."""
    return numpy.zeros((rows, octaves, BINS), numpy.int64)
