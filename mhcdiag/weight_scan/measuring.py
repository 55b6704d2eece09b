"""What one piece of a tensor measures, row by row and column by column: plain NumPy, or compiled loops."""

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from mhcdiag.weight_scan.codings import Bytes, Coding, Floats

_CACHED = 1 << 17
"""Values that NumPy works on at a time: float32 copies of more would not stay in the second cache."""


@dataclass(kw_only=True, slots=True)
class Measured:
    """Sums of one piece, whose values are all finite when it is handed on."""

    largest: Floats
    """Per row, the largest absolute value."""
    squares: Floats
    """Per row, the sum of squares, in float64."""
    zeros: np.ndarray[Any, np.dtype[np.int64]]
    """Per row, the number of zeros."""
    small: np.ndarray[Any, np.dtype[np.int64]]
    """Per row, the number of values below `Coding`'s or the configuration's smallest, zeros among them."""
    columns: Floats
    """Per column, the sum of squares."""

    @classmethod
    def of(cls, rows: int, columns: int) -> "Measured":
        """Nothing measured yet."""
        return cls(
            largest=np.zeros(rows),
            squares=np.zeros(rows),
            zeros=np.zeros(rows, dtype=np.int64),
            small=np.zeros(rows, dtype=np.int64),
            columns=np.zeros(columns, dtype=np.float32),
        )

    @property
    def is_sound(self) -> bool:
        """Whether float32 was enough: no NaN and infinity among the values, no square too large or too small for it."""
        if not math.isfinite(float(self.squares.sum())) or not math.isfinite(float(self.largest.sum())):
            return False
        lost = (self.squares == 0) & (self.largest > 0)
        return not lost.any()


class Pass(Protocol):
    """Measures pieces."""

    @property
    def name(self) -> str:
        """As reports call it."""

    def measure(self, data: Bytes, coding: Coding, columns: int, *, small: float) -> Measured:
        """Measure consecutive rows.

        Parameters
        ----------
        data
            Bytes of whole rows.
        coding
            Their element type.
        columns
            Values in a row.
        small
            Count values below this; 0 counts none.
        """


class PlainPass:
    """In NumPy."""

    name = "numpy"

    def measure(self, data: Bytes, coding: Coding, columns: int, *, small: float) -> Measured:
        """Measure consecutive rows; see `Pass`."""
        per_byte = 1 if coding.table is None else coding.table.shape[1]
        row_bytes = columns * np.dtype(coding.word).itemsize // per_byte
        rows = len(data) // row_bytes
        found = Measured.of(rows, columns)
        step = max(1, _CACHED // columns)
        for first in range(0, rows, step):
            last = min(rows, first + step)
            values = coding.decode(data[first * row_bytes : last * row_bytes]).reshape(last - first, columns)
            add_values(found, values, first, last, small=small)
        return found


def add_values(found: Measured, values: Floats, first: int, last: int, *, small: float) -> None:
    """Add rows first..last-1 of a piece."""
    with np.errstate(all="ignore"):  # NaN and infinity: `Measured.is_sound` looks for them afterwards
        size = np.abs(values)
        found.largest[first:last] = size.max(axis=1)
        found.squares[first:last] = np.einsum("ij,ij->i", values, values)
        found.zeros[first:last] = values.shape[1] - np.count_nonzero(values, axis=1)
        if small:
            found.small[first:last] = np.count_nonzero(size < small, axis=1)
        found.columns += np.einsum("ij,ij->j", values, values)
