"""What a log format is, and what reading a log gives: one table per log, one row per record.

Adding a format is one entry in a table or one file in `formats/`, and one entry in `FILE_FORMATS` or `TEXT_FORMATS`
(`formats/__init__.py`). An entry is a frozen record: `Grammar` or `BlockGrammar` (see `grammar`) where patterns say
all, `LineFormat` where lines need code, `FileFormat` where only the whole file makes sense. It must obey these rules:

* names are those of the log, and nothing is interpreted: which series is the loss, what a NaN means and which step
  is missing is decided once, for all formats, in `tables` and `following`;
* a line that holds the key of the loss and no number gives a record with `garbled=True`: it must never vanish, since
  too many of them fail a log;
* a parser keeps a bounded amount of state, so that a log can be followed while it grows;
* it needs no torch and no pandas.
"""

from __future__ import annotations  # arrays take a type in annotations from Python 3.12 on

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mhcdiag.runlogs.sources import LogSource


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
class LogRecord:
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
    ignored: str = ""
    """Why a line that carries a loss makes no record; empty where it does."""
    rank: int | None = None
    """Rank of the writer, where the line itself names it."""
    label: str = ""
    """Texts that say what the record is of (`records.label_of`)."""


NanFamily = Literal["plain", "megatron", "huggingface", "golden"]
"""How a writer hides or invents NaN (see `nanrules`)."""


class LineParser(Protocol):
    """State of one pass over the lines of a text log."""

    def feed(self, line: int, text: str) -> LogRecord | None:
        """Take the next line; return a record that is complete now.

        Parameters
        ----------
        line
            1-based number.
        text
            The line without prefix and line end.
        """
        ...

    def finish(self) -> LogRecord | None:
        """Return the record that was still open at the end."""
        ...


class RecordTable(Protocol):
    """Where the records of a log are collected (`builder.TableBuilder`)."""

    notes: list[str]
    """What the reader wants to tell."""
    garbled: int
    """Lines with the key of the loss and no value."""
    lines: int
    """Lines of the log; its records, in a format that has no lines."""

    @property
    def rows(self) -> int:
        """Records so far."""
        ...

    def add(self, record: LogRecord) -> None:
        """Append one record."""
        ...

    def add_block(self, lines: Sequence[int], columns: Mapping[str, array[float]]) -> None:
        """Append many records that carry the same series, all values finite.

        Parameters
        ----------
        lines
            Line of each record.
        columns
            Values by name, as long as `lines`.
        """
        ...

    def fill(
        self,
        *,
        line: NDArray[np.int64],
        step: NDArray[np.float64],
        series: Iterable[tuple[str, NDArray[np.int64], NDArray[np.float64]]],
    ) -> None:
        """Fill an empty table at once.

        Parameters
        ----------
        line, step
            Of each row.
        series
            Name, rows and values of each series; a row it does not name has no value.
        """
        ...


@runtime_checkable
class BlockLineParser(LineParser, Protocol):
    """A parser that can take many lines in one go."""

    def feed_block(self, numbers: Sequence[int], texts: list[bytes], table: RecordTable) -> bool:
        """Take many lines; return whether it could. If not, nothing was taken.

        Parameters
        ----------
        numbers
            1-based number of each line.
        texts
            The lines as they stand in the file.
        table
            Takes the records.
        """
        ...


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
        """Canonical name -> names in the log that bear it in this format, best first; empty where words decide."""
        ...

    @property
    def nan_family(self) -> NanFamily:
        """How this format hides or invents NaN."""
        ...


class TextFormat(LogFormat, Protocol):
    """A format that is read line by line, and can be followed while it grows."""

    def parser(self, keys: Keys, /) -> LineParser:
        """Return the state for one pass."""
        ...


def _none_of_them(_text: str, /) -> bool:
    return False


@dataclass(frozen=True, kw_only=True, slots=True)
class LineFormat:
    """A text format whose lines need code; the fields are those of `TextFormat`."""

    name: str
    """Name on the command line and in reports."""
    title: str
    """What the format is, in a few words."""
    parser: Callable[[Keys], LineParser]
    """Gives the state for one pass; raises SettingError where the user's names do not fit the format."""
    preferred: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Canonical name -> names in the log, best first."""
    nan_family: NanFamily = "plain"
    """How this format hides or invents NaN."""
    settled: Callable[[Keys, Sequence[str]], Callable[[Keys], LineParser]] | None = None
    """Takes the first lines of a log and gives what `parser` is for it, equal for equal decisions."""
    belongs: Callable[[str], bool] = _none_of_them
    """Says whether a line is one of the format's own (`detection.OwnsLines`)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LogSample:
    """Pieces of a log on which its format is recognised."""

    path: str
    """The log as the user named it."""
    head: bytes
    """Its first bytes: 64 KiB, or the first 2,000 lines of a stream."""
    pieces: tuple[bytes, ...]
    """Bytes from its middle and its end; empty for a stream."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileFormat:
    """A format that has no lines, or that only makes sense as a whole."""

    name: str
    """Name on the command line and in reports."""
    title: str
    """What the format is, in a few words."""
    fits: Callable[[LogSample], bool]
    """Says whether a file is in this format."""
    read: Callable[[LogSource, RecordTable], None]
    """Reads the opened file, or the folder of a run; raises LogError."""
    preferred: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Canonical name -> names in the log, best first."""
    nan_family: NanFamily = "plain"
    """How this format hides or invents NaN."""
