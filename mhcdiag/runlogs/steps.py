"""The steps of a log: the field that counts them, gaps in it, counts that begin again with every epoch."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mhcdiag.runlogs.counters import EPOCHS
from mhcdiag.runlogs.names import plain, step_rank

LEAST = 10
"""Records from which their order can speak against a step."""

MOST_MISSING = 0.5
"""Share of the records without a step from which it is no step: filled ones are a guess from their neighbours."""


def step_series(columns: Mapping[str, NDArray[np.float64]], counts: Mapping[str, int]) -> str | None:
    """Return the series of a sample that counts its steps, or None.

    By name, among the series that stand in half of the records at least (a step that only evaluations carry is not that
    of the run) and move with them; those that stand in nearly all records go first.

    Parameters
    ----------
    columns
        Series by name, NaN where absent.
    counts
        Values of each series.
    """
    most = max(counts.values(), default=0)
    ranked = [
        (count < 0.9 * most, rank, name.startswith("_"), name)
        for name, count in counts.items()
        if count >= MOST_MISSING * most and (rank := step_rank(name)) is not None and _moves(columns[name])
    ]
    return min(ranked)[3] if ranked else _epochs_as_steps(columns)


def _moves(column: NDArray[np.float64]) -> bool:
    known = column[np.isfinite(column)]
    return len(known) < LEAST or bool(known.min() < known.max())


def _epochs_as_steps(columns: Mapping[str, NDArray[np.float64]]) -> str | None:
    # Keras' CSVLogger has no other count; fractions of epochs (the Trainer's) are no count.
    for name, epochs in columns.items():
        if plain(name) in EPOCHS:
            whole = bool(np.isfinite(epochs).all()) and np.array_equal(epochs, np.floor(epochs))
            if len(epochs) > 1 and whole and np.all(np.diff(epochs) > 0):
                return name
    return None


def epoch_series(names: Mapping[str, object], step: str | None) -> str | None:
    """Return the series of the epochs within which a step may count, or None."""
    return next((name for name in names if plain(name) in EPOCHS and name != step), None)


class StepCount:
    """The step of one record after the other: gaps are counted on, counts per epoch are joined to one.

    Whole logs and growing ones go through the same count.
    """

    def __init__(self) -> None:
        self.missing = 0
        """Records whose step had to be counted on."""
        self.joined = False
        """Whether a count that began again was joined."""
        self._rows = 0
        self._last = -1.0
        self._increase = 1.0
        self._offsets: dict[float, float] = {}
        self._offset = 0.0
        self._epoch = math.nan
        self._raw = math.nan
        self._fractional = False

    def notes(self) -> list[str]:
        """Return what was assumed."""
        found = [f"{self.missing:,} records without a step: counted on from the record before"] if self.missing else []
        return [*found, *(["the step begins again with every epoch: joined to one count"] if self.joined else [])]

    def take(self, raw: float | None, *, epoch: float = math.nan, total: float = math.nan) -> float:
        """Return the step of the next record.

        Parameters
        ----------
        raw
            As the log has it; None or not finite: missing.
        epoch
            Of the record, NaN where it has none. Fractions of epochs say nothing: they rise at every record.
        total
            What the count runs up to, NaN where the log does not say.
        """
        if raw is None or not math.isfinite(raw):
            self.missing += 1
            step = self._last + max(self._increase, 1.0) if self._rows else 0.0
        else:
            step = raw + self._within(epoch, raw, total)
        self._increase = step - self._last if self._rows else 1.0
        self._last, self._rows = step, self._rows + 1
        return step

    def _within(self, epoch: float, raw: float, total: float) -> float:
        # A run that dies may log a NaN for every number, its epoch among them.
        if not math.isfinite(epoch) or self._fractional:
            return self._offset
        if epoch != math.floor(epoch):
            self._fractional = True
            return self._offset
        if epoch > self._epoch and raw < self._raw:
            self._offset += total * (epoch - self._epoch) if total >= self._raw else self._raw + (raw == 0)
            self.joined = True
        elif epoch < self._epoch and epoch in self._offsets:
            self._offset = self._offsets[epoch]  # a resume from an epoch before
        self._offsets[epoch] = self._offset
        self._epoch, self._raw = epoch, raw
        return self._offset


def count_steps(
    raw: NDArray[np.float64],
    *,
    epochs: NDArray[np.float64] | None,
    totals: NDArray[np.float64] | None,
    count: StepCount,
) -> NDArray[np.float64]:
    """Return the steps of many records.

    Parameters
    ----------
    raw
        As the log has them, NaN where missing.
    epochs, totals
        Of each record, NaN where absent; None: never.
    count
        Where the count stands.
    """
    known = np.isfinite(raw)
    again = epochs is not None and bool(np.any(np.diff(raw[known]) < 0))
    if known.all() and not again:  # nearly all logs: nothing to fill and nothing to join
        return raw
    nothing = np.full(len(raw), np.nan)
    epoch_of = (nothing if epochs is None else epochs).tolist()
    total_of = (nothing if totals is None else totals).tolist()
    return np.array(
        [
            count.take(step, epoch=epoch, total=total)
            for step, epoch, total in zip(raw.tolist(), epoch_of, total_of, strict=True)
        ]
    )


def as_steps(steps: NDArray[np.float64]) -> NDArray[np.int64] | NDArray[np.float64]:
    """Return steps as integers if all are whole."""
    if np.all(np.abs(steps) < 2**53) and np.all(steps == np.floor(steps)):
        return steps.astype(np.int64)
    return steps
