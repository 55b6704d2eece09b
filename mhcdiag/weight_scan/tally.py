"""What is known of one tensor after all its pieces: numbers, and the shape of its rows and columns."""

import hashlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mhcdiag.tensorfiles.streams import Block, Stream
from mhcdiag.weight_scan.codings import Bytes, Coding, Floats
from mhcdiag.weight_scan.measuring import Measured, Pass, add_values

MOST_LINES = 1 << 23
"""Rows or columns up to which each is measured by itself: of a flattened optimizer state they would not fit memory."""

_SAMPLED = 1 << 15
"""Values of a tensor from which the kurtosis is taken: its error is sqrt(24 / N), 0.03 here."""


_FEW = 1000
"""Values of a sample below which a kurtosis says nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lines:
    """The rows of a matrix, or its columns."""

    count: int
    """How many were measured."""
    dead: int
    """How many are all zero."""
    first_dead: int
    """The first of them; -1 without one."""
    largest: float
    """RMS of the largest one."""
    largest_at: int
    """Which one that is."""
    median: float
    """Median of their RMS."""
    spread: float
    """Variance of their mean squares over the squared mean; (kurtosis - 1) / length for independent values."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """What was measured of one stored copy of one tensor."""

    stream: Stream
    """Where it comes from, to look at it again."""
    elements: int
    scanned: int
    """Values looked at."""
    nan: int
    first_nan: tuple[int, ...] | None
    infinite: int
    negative: int
    """How many of the infinite values are below zero."""
    first_infinite: tuple[int, ...] | None
    zeros: int
    small: int
    """Values that are not zero and below the smallest that its element type, or the configuration's, holds fully."""
    absmax: float
    rms: float
    """Both of the finite values."""
    rows: Lines | None
    columns: Lines | None
    """None for vectors, and where rows or columns are too many or were not looked at completely."""
    kurtosis: float
    """Of a sample: 3 for normal, 1.8 for uniform values; NaN where there are too few."""
    sketch: bytes
    """Equal for tensors whose bytes are equal; empty where not all was looked at, or nothing to tell apart."""

    @property
    def name(self) -> str:
        """As reports show it."""
        return self.stream.name

    @property
    def is_matrix(self) -> bool:
        """Whether it has rows and columns: more than one axis of more than one element."""
        return sum(length > 1 for length in self.stream.shape) > 1

    @property
    def is_zero(self) -> bool:
        """Whether every value looked at is zero."""
        return self.scanned > 0 and self.zeros == self.scanned

    @property
    def is_finite(self) -> bool:
        """Whether every value looked at is finite."""
        return not self.nan and not self.infinite


class Tally:
    """Takes the pieces of one stream.

    Parameters
    ----------
    stream
        Of `mhcdiag.tensorfiles.streams`.
    coding
        Of its element type.
    measuring
        What measures pieces.
    small
        Values below this are counted as small; 0 counts none.
    """

    def __init__(self, stream: Stream, coding: Coding, measuring: Pass, *, small: float) -> None:
        self._stream = stream
        self._coding = coding
        self._measuring = measuring
        self._limit = small
        shape = stream.shape
        rows, columns = (shape[0], math.prod(shape[1:])) if len(shape) > 1 else (1, math.prod(shape))
        self._has_rows = len(shape) > 1 and rows <= MOST_LINES
        whole = all(block.shape[1:] == shape[1:] for block in stream.blocks)
        self._has_columns = len(shape) > 1 and columns <= MOST_LINES and (whole or len(shape) == 2)
        self._row_squares = np.zeros(rows if self._has_rows else 1)
        self._row_zeros = np.zeros(len(self._row_squares), dtype=np.int64)
        self._row_seen = np.zeros(len(self._row_squares), dtype=np.int64)
        self._column_squares = np.zeros(columns if self._has_columns else 1)
        self._row_length = columns
        self.scanned = self._nan = self._infinite = self._negative = self._zeros = self._small = 0
        self._first_nan: tuple[int, ...] | None = None
        self._first_infinite: tuple[int, ...] | None = None
        self._absmax = self._squares = 0.0
        self._sample: Floats | None = None

    def add(self, data: Bytes, block: Block, first: int, count: int) -> None:
        """Take a piece.

        Parameters
        ----------
        data
            Its bytes: whole rows of the block, or a part of one row.
        block
            The block that it belongs to.
        first, count
            Its elements, counted in the block.
        """
        length = math.prod(block.shape[1:]) if len(block.shape) > 1 else count
        columns = min(length, count)
        found = self._measuring.measure(data, self._coding, columns, small=self._limit)
        if not found.is_sound:
            found = self._measured_with_care(data, block, first, columns)
        self.scanned += count
        self._zeros += int(found.zeros.sum())
        self._small += int(found.small.sum())
        self._absmax = max(self._absmax, float(found.largest.max(initial=0.0)))
        self._squares += float(found.squares.sum())
        self._add_lines(found, block, first, columns)
        if self._sample is None and count > 1:
            step = max(1, count // _SAMPLED) | 1  # an odd step does not fall on the same column again and again
            self._sample = np.array(self._coding.decode(data)[::step], dtype=np.float64)

    def _measured_with_care(self, data: Bytes, block: Block, first: int, columns: int) -> Measured:
        """In float64, what is not finite counted, placed and left out of all sums."""
        values = self._coding.decode(data).astype(np.float64)
        nan, infinite = np.isnan(values), np.isinf(values)
        if nan.any():
            self._nan += int(nan.sum())
            self._first_nan = _first(self._first_nan, block, first + int(nan.argmax()))
        if infinite.any():
            self._infinite += int(infinite.sum())
            self._negative += int((values[infinite] < 0).sum())
            self._first_infinite = _first(self._first_infinite, block, first + int(infinite.argmax()))
        bad = nan | infinite
        values[bad] = 0.0
        found = Measured.of(len(values) // columns, columns)
        found.columns = found.columns.astype(np.float64)
        add_values(found, values.reshape(-1, columns), 0, len(found.squares), small=self._limit)
        in_rows = bad.reshape(-1, columns).sum(axis=1)
        found.zeros -= in_rows
        if self._limit:
            found.small -= in_rows
        return found

    def _add_lines(self, found: Measured, block: Block, first: int, columns: int) -> None:
        across = math.prod(block.shape[1:]) if len(block.shape) > 1 else 1
        top = (block.offsets[0] if block.offsets else 0) + first // max(1, across)
        if self._has_rows:
            rows = slice(top, top + len(found.squares))
            self._row_squares[rows] += found.squares
            self._row_zeros[rows] += found.zeros
            self._row_seen[rows] += columns
        if self._has_columns:
            left = (block.offsets[1] if len(self._stream.shape) == 2 else 0) + first % max(1, across)
            self._column_squares[left : left + columns] += found.columns

    def summary(self) -> Summary:
        """What is known of the tensor."""
        elements = math.prod(self._stream.shape)
        finite = self.scanned - self._nan - self._infinite
        sizes = self._row_seen == self._row_length
        rows = columns = None
        if self._has_rows and sizes.any():
            dead = self._row_zeros == self._row_length
            rows = _lines(self._row_squares / max(1, self._row_length), dead, sizes)
        if self._has_columns and sizes.any():
            seen = int(sizes.sum()) if self._has_rows else self._stream.shape[0]
            means = self._column_squares / max(1, seen)
            columns = _lines(means, means == 0, np.ones(len(means), dtype=bool))
        return Summary(
            stream=self._stream,
            elements=elements,
            scanned=self.scanned,
            nan=self._nan,
            first_nan=self._first_nan,
            infinite=self._infinite,
            negative=self._negative,
            first_infinite=self._first_infinite,
            zeros=self._zeros,
            small=max(0, self._small - self._zeros) if self._limit else 0,
            absmax=self._absmax,
            rms=math.sqrt(self._squares / finite) if finite else 0.0,
            rows=rows,
            columns=columns,
            kurtosis=_kurtosis(self._sample),
            sketch=self._sketch() if self.scanned == elements else b"",
        )

    def _sketch(self) -> bytes:
        if not self._has_rows or self._squares == 0:
            return b""
        digest = hashlib.blake2b(digest_size=16)
        for part in (self._row_squares, self._row_zeros, self._column_squares):
            digest.update(part.tobytes())
        digest.update(repr((self._stream.dtype, self._stream.shape)).encode())
        return digest.digest()


def _first(known: tuple[int, ...] | None, block: Block, flat: int) -> tuple[int, ...]:
    inside = np.unravel_index(flat, block.shape) if block.shape else ()
    place = tuple(int(index) + offset for index, offset in zip(inside, block.offsets, strict=True))
    return place if known is None else min(known, place)


def _lines(means: Floats, dead: Any, seen: Any) -> Lines:
    """Of rows or columns, by their mean squares."""
    numbers = np.flatnonzero(seen)
    means, dead = means[numbers], dead[numbers]
    at, count = int(means.argmax()), len(means)
    largest, deaths = float(means[at]), int(np.count_nonzero(dead))
    scaled = means / largest if largest > 0 else means  # squares of squares leave float64 where values are extreme
    mean = float(scaled.sum()) / count
    return Lines(
        count=count,
        dead=deaths,
        first_dead=int(numbers[int(dead.argmax())]) if deaths else -1,
        largest=math.sqrt(largest),
        largest_at=int(numbers[at]),
        median=math.sqrt(float(np.partition(means, count // 2)[count // 2])),
        spread=max(0.0, float(scaled @ scaled) / count / mean**2 - 1) if mean > 0 else math.nan,
    )


def _kurtosis(sample: Floats | None) -> float:
    if sample is None or len(sample) < _FEW:
        return math.nan
    squares = np.square(sample)
    second = float(squares.sum())
    fourth = float(squares @ squares)
    return len(sample) * fourth / second**2 if second > 0 and math.isfinite(second**2 + fourth) else math.nan
