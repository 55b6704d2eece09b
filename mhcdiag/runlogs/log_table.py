"""What reading a log gives: its rows as columns of one table, or one by one while it grows."""

from __future__ import annotations  # arrays take a type in annotations from Python 3.12 on

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mhcdiag.errors import LogError

ScalerKind = Literal["overflow", "minimum", "nan", "skipped"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ScalerEvent:
    """A line of plain text that reports trouble of the fp16 loss scaler, or a NaN the code has found."""

    line: int
    """1-based line of the message."""
    step: float
    """The step in the message, else the last step logged before it; NaN when there is none."""
    kind: ScalerKind
    """`overflow`: one skipped step; `minimum`: the scaler gave up; `nan`: the code found a NaN; `skipped`: it found one
    in the gradient and skipped the step."""
    loss_scale: float
    """The new loss scale the message names; NaN when it names none."""
    text: str
    """The message, cut to 200 characters."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One record of a log that is read while it grows."""

    line: int
    """1-based line (the record's first line, where a record has several)."""
    step: float
    """The log's own step; the index of the record when the log has none."""
    values: dict[str, float]
    """Series of this record by name, canonical names where there are; what was not logged is missing."""
    nan: frozenset[str]
    """Series whose value was recorded and is not finite, or left out because it was NaN: events."""
    rank: int | None = None
    """Rank of the writer, where the line has a prefix that tells it."""
    total_steps: float = float("nan")
    """Planned number of steps, where the line tells it ("step 12/5000")."""


@dataclass(frozen=True, slots=True)
class Restart:
    """Forget all entries so far: more lines have shown that the log must be read otherwise, and they come again."""


Entry = Row | ScalerEvent | Restart


@dataclass(frozen=True, kw_only=True, slots=True)
class Writers:
    """How many records a log has of each step; the default is one."""

    ranks: int = 0
    """Ranks that name themselves, 0 where none or one does."""
    interleaved: bool = False
    """Whether several writers without a rank talk at the same time."""
    several: bool = False
    """Whether steps have several records with other losses: ranks without a name, or micro-batches."""
    records: int = 0
    """How many, where nearly all steps have equally many; else 0."""

    @property
    def one(self) -> bool:
        """Whether every step has one record."""
        return not (self.ranks or self.interleaved or self.several)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LogTable:
    """One log as columns of equal length; row i of every column belongs to one record of the log."""

    path: str
    """The log as the user named it; `-` for standard input."""
    format: str
    """Name of the format that read it."""
    step: NDArray[np.int64] | NDArray[np.float64]
    """The log's own step of each row (float64 only if one is fractional), else the index of the record."""
    line: NDArray[np.int64]
    """1-based line of each row; the 1-based number of the record in a format that has no lines."""
    columns: dict[str, NDArray[np.float64]]
    """Series by name, canonical names first. NaN: not logged in this record, or an event (see `nan_rows`)."""
    source_names: dict[str, str]
    """Canonical name -> the name in the log."""
    nan_rows: dict[str, NDArray[np.bool_]]
    """For series with at least one: rows whose value is a NaN or infinity that the run produced."""
    total_steps: NDArray[np.float64] | None
    """Planned number of steps each record names ("step 12/5000"), NaN where it names none; None: never."""
    rank: NDArray[np.int64] | None
    """Rank of each row's writer, -1 where it is not known; None: never."""
    lines: int
    """Lines of the log (records, in a format that has no lines)."""
    loss_lines: int
    """Lines that carry the key of the loss."""
    unreadable_lines: int
    """Of these, lines that give neither a number nor a NaN."""
    notes: tuple[str, ...] = ()
    """What was dropped, assumed or repaired: one clause each, ready to print."""
    scaler_events: tuple[ScalerEvent, ...] = ()
    """Messages of the loss scaler and NaN messages, in order of lines; that of several ranks once."""
    scaler_rows: tuple[int, ...] = ()
    """For each of them, how many rows stand before it."""
    writers: Writers = Writers()
    """How many records a step has."""
    copied: int = 0
    """Lines with a loss that repeat the line before them."""
    ignored: Mapping[str, int] = field(default_factory=dict)
    """Lines that carry a loss and make no row, by reason."""
    doubt: str = ""
    """What in the log speaks against what its first records showed; empty: nothing."""

    def require(self, series: str = "loss") -> NDArray[np.float64]:
        """Return a series by its name in `columns`.

        Raises
        ------
        LogError
            There is none; names those there are.
        """
        if series in self.columns:
            return self.columns[series]
        have = ", ".join(list(self.columns)[:8]) or "no numeric series"
        raise LogError(
            self.path,
            found=f"no series '{series}' (format {self.format}; it has {have})",
            expected="a training or evaluation loss" if series == "loss" else "one of the series named",
            hint="name one with --loss-key or --series; --list-series shows all",
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Run:
    """One training run inside a log: its rows in the order of its steps; no loss counts twice."""

    rows: NDArray[np.int64]
    """Indices into the table's rows: those that count, in order of steps."""
    replaced: NDArray[np.int64]
    """Indices of rows that a resume wrote again (the last copy counts), in order of lines."""
    first_step: float
    """Smallest step of the run."""
    last_step: float
    """Largest step of the run."""
    points: int
    """Number of rows that count and carry the loss (any series, when the table has no loss)."""
    notes: tuple[str, ...] = ()
    """What the user should know: "resumed at 9,800 from 10,400"."""
