"""TensorBoard event files; a folder of them is one run that was started several times."""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mhcdiag.runlogs.builder import MOST_SERIES, TableBuilder
from mhcdiag.runlogs.eventfile import ScalarReader
from mhcdiag.runlogs.interface import NanFamily, Sample
from mhcdiag.runlogs.sources import LogSource, open_source


@dataclass(frozen=True, kw_only=True, slots=True)
class EventFiles:
    """Scalars of all tags; tags of one step make one record."""

    name: str = "tensorboard"
    """Name on the command line and in reports."""
    title: str = "TensorBoard event files"
    """What the format is, in a few words."""
    preferred: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"time": ("wall_time",)})
    """No other names are fixed: words decide."""
    nan_family: NanFamily = "plain"
    """NaN stand as they are."""

    def fits(self, sample: Sample) -> bool:
        """Say whether a file is in this format.

        Arguments: sample: of the file.
        """
        return b"brain.Event:" in sample.head[:64]

    def read(self, source: LogSource, table: TableBuilder) -> None:
        """Read an event file, or all event files of a folder in the order of their start times.

        Arguments: source: the opened file or folder; table: takes the records.
        """
        folder = Path(source.path)
        files = sorted(folder.glob("*tfevents*")) if folder.is_dir() else []
        scalars = ScalarReader()
        for part in [open_source(str(file)) for file in files] or [source]:
            trouble = scalars.read(part.blocks())
            part.close()
            if trouble:
                table.notes.append(f"{Path(part.path).name}: {trouble}")
        _fill(table, scalars)


def _fill(table: TableBuilder, scalars: ScalarReader) -> None:
    steps = np.frombuffer(scalars.step, dtype=np.int64)
    tags = np.frombuffer(scalars.tag, dtype=np.int64)
    if not len(steps):
        return
    rows = _rows(steps, tags)
    first = np.unique(rows, return_index=True)[1]
    count = len(first)
    table.line = array("q", (first + 1).astype(np.int64).tobytes())
    table.step = array("d", steps[first].astype(np.float64).tobytes())
    table.lines = len(steps)
    _series(table, "wall_time", np.arange(count), scalars.times[first], count)
    for number, tag in enumerate(scalars.tags):
        chosen = tags == number
        _series(table, tag, rows[chosen], scalars.values[chosen], count)


def _rows(steps: NDArray[np.int64], tags: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the record of each value: neighbours of one step, split where a tag comes again."""
    group = np.cumsum(np.concatenate([[0], np.diff(steps) != 0]))
    key = group * (int(tags.max()) + 1) + tags
    order = np.argsort(key, kind="stable")
    same = np.concatenate([[False], np.diff(key[order]) == 0])
    starts = np.maximum.accumulate(np.where(same, 0, np.arange(len(key))))
    copy = np.empty(len(key), dtype=np.int64)
    copy[order] = np.arange(len(key)) - starts
    most = int(copy.max()) + 1
    return np.unique(group * most + copy, return_inverse=True)[1]


def _series(table: TableBuilder, name: str, rows: NDArray[np.int64], values: NDArray[np.float64], count: int) -> None:
    if len(table.series) >= MOST_SERIES:
        table.dropped_series += len(values)
        return
    column = np.full(count, np.nan)
    column[rows] = values
    table.series[name] = array("d", column.tobytes())
    table.counts[name] = len(values)
    strange = rows[~np.isfinite(values)]
    if len(strange):
        table.strange[name] = array("q", strange.astype(np.int64).tobytes())


TENSORBOARD = EventFiles()
