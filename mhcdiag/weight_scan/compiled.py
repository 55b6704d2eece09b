"""The pass over values as loops for Numba: several times as fast as NumPy, which writes every step to memory."""

from typing import Any

import numba
import numpy as np

from mhcdiag.weight_scan.codings import Bytes, Coding
from mhcdiag.weight_scan.measuring import Measured, PlainPass

BLOCK = 2048
"""Values of a row between which the sums of columns stay in the first cache."""

# `reassoc` lets a sum be taken in as many parts as a vector has places. Not `nnan` or `ninf`: what is not finite must
# stay so in the sums.
_loop = numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz"}, error_model="numpy")


@_loop
def over_magnitudes(
    words: Any, mask: Any, shift: Any, scale: Any, small: Any, scratch: Any,
    largest: Any, squares: Any, zeros: Any, smalls: Any, columns: Any,
) -> None:  # fmt: skip
    """Measure rows of floating point numbers by their magnitudes.

    Parameters
    ----------
    words
        [row, column], unsigned.
    mask, shift, scale
        Of the `Coding`.
    small
        Magnitude; smaller ones are counted.
    scratch
        `BLOCK` numbers of type uint32.
    largest
        Written: largest magnitude of each row.
    squares, zeros, smalls
        Added to: of each row.
    columns
        Added to: sum of squares of each column, float32.
    """
    rows, count = words.shape
    values = scratch.view(np.float32)
    for first in range(0, count, BLOCK):
        last = min(count, first + BLOCK)
        sums = columns[first:last]
        for row in range(rows):
            line = words[row, first:last]
            top = mask & np.uint8(0)
            nothing = np.uint32(0)
            few = np.uint32(0)
            for column in range(last - first):
                magnitude = line[column] & mask
                top = max(top, magnitude)
                nothing += np.uint32(magnitude == 0)
                few += np.uint32(magnitude < small)
                scratch[column] = np.uint32(magnitude) << shift
            total = np.float32(0)
            for column in range(last - first):
                value = values[column] * scale
                square = value * value
                total += square
                sums[column] += square
            largest[row] = max(largest[row], top)
            squares[row] += np.float64(total)
            zeros[row] += nothing
            smalls[row] += few


@_loop
def over_table(
    data: Any, table: Any, small: Any, largest: Any, squares: Any, zeros: Any, smalls: Any, columns: Any
) -> None:
    """Measure rows of bytes that each stand for one or two values; as `over_magnitudes`, with the values in a table."""
    rows, count = data.shape
    parts = table.shape[1]
    for row in range(rows):
        top = np.float32(0)
        total = np.float32(0)
        nothing = np.uint32(0)
        few = np.uint32(0)
        for byte in range(count):
            for part in range(parts):
                value = abs(table[data[row, byte], part])
                square = value * value
                # A comparison with NaN is false: it must not get lost behind a larger number.
                top = value if value > top or value != value else top  # noqa: PLR0124
                nothing += np.uint32(value == 0)
                few += np.uint32(value < small)
                total += square
                columns[byte * parts + part] += square
        largest[row] = np.float64(top)  # no maximum: that of a number and NaN is the number
        squares[row] += np.float64(total)
        zeros[row] += nothing
        smalls[row] += few


class CompiledPass:
    """In loops for Numba; types that these do not know are measured in NumPy."""

    name = "numba"

    def __init__(self) -> None:
        self._scratch = np.zeros(BLOCK, dtype=np.uint32)
        self._plain = PlainPass()

    def measure(self, data: Bytes, coding: Coding, columns: int, *, small: float) -> Measured:
        """Measure consecutive rows; see `mhcdiag.weight_scan.measuring.Pass`."""
        if coding.has_magnitudes:
            return self._by_magnitude(data, coding, columns, small)
        if coding.table is not None:
            table = coding.table
            found = Measured.of(len(data) * table.shape[1] // columns, columns)
            rows = data.reshape(len(found.squares), -1)
            over_table(
                rows, table, np.float32(small), found.largest, found.squares, found.zeros, found.small, found.columns
            )
            return found
        return self._plain.measure(data, coding, columns, small=small)

    def _by_magnitude(self, data: Bytes, coding: Coding, columns: int, small: float) -> Measured:
        words = data.view(coding.word).reshape(-1, columns)
        kind = words.dtype.type
        found = Measured.of(len(words), columns)
        largest = np.zeros(len(words), dtype=kind)
        over_magnitudes(
            words, kind(coding.mask), np.uint32(coding.shift), np.float32(coding.scale),
            kind(coding.magnitude(small)), self._scratch,
            largest, found.squares, found.zeros, found.small, found.columns,
        )  # fmt: skip
        bits = largest.astype(np.uint32) << np.uint32(coding.shift)
        found.largest = bits.view(np.float32).astype(np.float64) * coding.scale
        found.largest[largest >= coding.first_nonfinite] = np.nan
        return found
