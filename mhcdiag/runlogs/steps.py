"""The steps of a log: the field that counts them, gaps in it, counts that begin again with every epoch."""

import numpy as np
from numpy.typing import NDArray

from mhcdiag.errors import SettingError
from mhcdiag.runlogs.builder import TableBuilder
from mhcdiag.runlogs.interface import Keys
from mhcdiag.runlogs.names import plain, step_name

_EPOCHS = ("epoch", "ep")


class StepCount:
    """The step of each row, and the series it was taken from.

    Parameters
    ----------
    builder
        The records.
    keys
        Names that the user gave.
    notes
        Takes what was assumed.

    Raises
    ------
    SettingError
        The log has no such step.
    """

    def __init__(self, builder: TableBuilder, *, keys: Keys, notes: list[str]) -> None:
        self.name: str | None = None
        """The series that holds the step; None when the parser knew the step, or there is none."""
        self._builder = builder
        self.values = self._choose(keys, notes)
        """The step of each row."""
        if len(self.values):
            self._fill_gaps(notes)
            self._join_epochs(notes)

    def _choose(self, keys: Keys, notes: list[str]) -> NDArray[np.float64]:
        builder = self._builder
        if keys.step is not None and keys.step in builder.series:
            self.name = keys.step
            return builder.column(keys.step)
        given = builder.steps()
        if np.isfinite(given).any():
            return given
        if keys.step is not None:
            some = ", ".join(list(builder.series)[:8])
            raise SettingError(f"--step-key {keys.step}: the log has no such field (it has {some})")
        # A step that only evaluations carry is not that of the run.
        enough = 0.5 * max(builder.counts.values(), default=0)
        self.name = step_name([name for name, count in builder.counts.items() if count >= enough])
        if self.name is None:
            self.name = self._epochs_as_steps()
        if self.name is not None:
            return builder.column(self.name)
        if builder.rows:
            notes.append("no step in the log: the number of the record stands for it")
        return np.arange(builder.rows, dtype=np.float64)

    def _epochs_as_steps(self) -> str | None:
        # Keras' CSVLogger has no other count; fractions of epochs (the Trainer's) are no count.
        for name in self._builder.series:
            if plain(name) in _EPOCHS:
                epochs = self._builder.column(name)
                whole = bool(np.isfinite(epochs).all()) and np.array_equal(epochs, np.floor(epochs))
                if len(epochs) > 1 and whole and np.all(np.diff(epochs) > 0):
                    return name
        return None

    def _fill_gaps(self, notes: list[str]) -> None:
        known = np.isfinite(self.values)
        missing = int(len(known) - known.sum())
        if not missing:
            return
        # Filled steps are a guess from their neighbours: where most are missing there is nothing to guess from.
        if missing > 0.5 * len(known):
            notes.append(f"{missing:,} of {len(known):,} records without a step: the record's number stands for it")
            self.values, self.name = np.arange(len(known), dtype=np.float64), None
            return
        self.values = fill_steps(self.values)
        notes.append(f"{missing:,} records without a step: counted on from the record before")

    def _join_epochs(self, notes: list[str]) -> None:
        for name in self._builder.series:
            if plain(name) in _EPOCHS and name != self.name:
                joined = join_epochs(self.values, self._builder.column(name))
                if joined is not self.values:
                    self.values = joined
                    notes.append("the step begins again with every epoch: joined to one count")
                return


def fill_steps(steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return steps without gaps (NaN): a missing one is the step before plus the last increase."""
    filled = steps.copy()
    for row in np.flatnonzero(~np.isfinite(steps)).tolist():
        before = filled[row - 1] if row else -1.0
        increase = filled[row - 1] - filled[row - 2] if row > 1 else 1.0
        filled[row] = before + max(increase, 1.0) if row > 1 else before + 1.0
    return filled


def join_epochs(steps: NDArray[np.float64], epochs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return steps that count on where they begin again at the first record of the next epoch.

    Parameters
    ----------
    steps
        Of each row.
    epochs
        Of each row, NaN where absent. Fractions of epochs say nothing: they rise at every record.

    Returns
    -------
    NDArray
        `steps` itself if nothing begins again.
    """
    known = np.flatnonzero(np.isfinite(epochs))
    if len(known) < 2:
        return steps
    again = (np.diff(epochs[known]) > 0) & (np.diff(steps[known]) < 0)
    if not again.any():
        return steps
    whole = epochs[known] == np.floor(epochs[known])
    if not whole.all():
        return steps
    offsets = np.zeros(len(steps))
    rows = known[1:][again]
    offsets[rows] = steps[known[:-1][again]] + (steps[rows] == 0)
    return steps + np.cumsum(offsets)


def as_steps(steps: NDArray[np.float64]) -> NDArray[np.int64] | NDArray[np.float64]:
    """Return steps as integers if all are whole."""
    if np.all(np.abs(steps) < 2**53) and np.all(steps == np.floor(steps)):
        return steps.astype(np.int64)
    return steps
