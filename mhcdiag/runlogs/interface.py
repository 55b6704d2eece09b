"""What a reader of training logs takes and gives: one table per file, one row per record of the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mhcdiag.errors import LogError

if TYPE_CHECKING:
    from mhcdiag.runlogs.builder import TableBuilder
    from mhcdiag.runlogs.sources import LogSource

CANONICAL = ("loss", "grad_norm", "learning_rate", "loss_scale", "skipped", "eval_loss", "time")
"""Series that have one name here, whatever the log calls them; all others keep the name of the log."""

ScalerKind = Literal["overflow", "minimum", "nan"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ScalerEvent:
    """A line of plain text that reports trouble of the fp16 loss scaler, or a NaN the code has found."""

    line: int
    """1-based line of the message."""
    step: float
    """The step in the message, else the last step logged before it; NaN when there is none."""
    kind: ScalerKind
    """`overflow`: one skipped step; `minimum`: the scaler gave up; `nan`: the code found a NaN loss."""
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


Entry = Row | ScalerEvent


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

    def require(self, series: str = "loss") -> NDArray[np.float64]:
        """Return a series, or raise LogError that names the series there are.

        Arguments: series: the name as in `columns`.
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Keys:
    """What the user said about the names in the log."""

    loss: str | None = None
    """Name of the loss in the log (`--loss-key`)."""
    step: str | None = None
    """Name of the step in the log (`--step-key`)."""
    regex: str | None = None
    """Pattern with the named groups `loss` and (better) `step`; others become series (`--regex`)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One record as a parser finds it: names of the log, nothing interpreted."""

    line: int
    """1-based line of the record's first line."""
    values: dict[str, float]
    """Every number of the record by the name in the log; NaN and infinities as they stand."""
    step: float | None = None
    """The step, where the parser knows which field it is."""
    total_steps: float | None = None
    """Planned number of steps ("step 12/5000")."""
    garbled: bool = False
    """The line carries the key of the loss, and neither a number nor a NaN behind it."""


class LineParser(Protocol):
    """State of one pass over the lines of a text log."""

    def feed(self, line: int, text: str) -> Record | None:
        """Take the next line, without prefix and line end; return a record that is complete now.

        Arguments: line: 1-based; text: the line.
        """
        ...

    def finish(self) -> Record | None:
        """Return the record that was still open at the end."""
        ...


NanFamily = Literal["plain", "megatron", "huggingface", "golden"]


class LogFormat(Protocol):
    """One format of training logs, as all of them describe themselves."""

    @property
    def name(self) -> str:
        """Name on the command line and in reports."""
        ...

    @property
    def title(self) -> str:
        """What the format is, in a few words."""
        ...

    @property
    def preferred(self) -> Mapping[str, tuple[str, ...]]:
        """Canonical name -> names in the log that bear it in this format, best first."""
        ...

    @property
    def nan_family(self) -> NanFamily:
        """How this format hides or invents NaN (see nanrules)."""
        ...


class TextFormat(LogFormat, Protocol):
    """A format that is read line by line, and can be followed while it grows."""

    def parser(self, keys: Keys) -> LineParser:
        """Return the state for one pass.

        Arguments: keys: what the user said about names.
        """
        ...


@runtime_checkable
class FileFormat(LogFormat, Protocol):
    """A format that has no lines, or that only makes sense as a whole."""

    def fits(self, sample: Sample) -> bool:
        """Say whether a file is in this format.

        Arguments: sample: pieces of the file.
        """
        ...

    def read(self, source: LogSource, table: TableBuilder) -> None:
        """Read a whole file.

        Arguments: source: the opened file; table: takes the records. Raises: LogError.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """Pieces of a log on which its format is recognised."""

    path: str
    """The log as the user named it."""
    head: bytes
    """Its first bytes: 64 KiB, or the first 2,000 lines of a stream."""
    pieces: tuple[bytes, ...]
    """Bytes from its middle and its end; empty for a stream."""
