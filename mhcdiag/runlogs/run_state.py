"""One run as far as it is read, and what tells the beginning of another from a resume."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RECENT = 1 << 16
"""Points of a run that are remembered, to count those that a resume replaces: nobody goes back further."""


def goes_back_to_start(
    step: float, *, first: float, last: float, interval: float, total: float, total_before: float
) -> bool:
    """Say whether a step that goes back begins a new run; if not, the run was resumed from a checkpoint.

    A new run begins near the first step of the one before. A planned number of steps that is gone marks a
    phase: nanochat's speedrun.log holds pre-training ("step 00000/05742"), then fine-tuning ("step 00000 (0.20%)").

    Parameters
    ----------
    step
        The new step.
    first, last
        Steps of the run so far.
    interval
        Steps between its last two records.
    total, total_before
        Planned number of steps now and before, NaN where the log does not have it.
    """
    if step <= first + 2 * interval:
        return True
    if np.isfinite(total_before) and not np.isfinite(total):
        return True
    changed = np.isfinite(total) and np.isfinite(total_before) and total != total_before
    return bool(changed and step <= first + 0.05 * (last - first))


@dataclass(kw_only=True, slots=True)
class RunState:
    """A run as far as it is read."""

    first: float = np.nan
    last: float = np.nan
    """First and newest step with a loss."""
    interval: float = 0.0
    """Steps between the last two records with a loss."""
    total: float = np.nan
    """Planned number of steps."""
    smallest: float = np.inf
    largest: float = -np.inf
    """Of all rows that count."""
    points: int = 0
    """Steps with a loss, those that a resume replaced once."""
    replaced: int = 0
    """Points that a resume wrote again."""
    notes: list[str] = field(default_factory=list)
    """How it began, and where it was resumed."""
    recent: Floats = field(default_factory=lambda: np.empty(0))
    """Its newest steps."""

    def take(self, steps: Floats, inside: NDArray[np.bool_]) -> None:
        """Take steps with a loss, each another one than the one before; `inside`: those that count."""
        self.points += int(np.count_nonzero(inside))
        self.recent = np.concatenate([self.recent, steps[inside]])[-RECENT:]

    def rewind(self, step: float) -> None:
        """Forget the points that are written again."""
        gone = self.recent >= step
        count = int(np.count_nonzero(gone))
        self.points, self.replaced, self.recent = self.points - count, self.replaced + count, self.recent[~gone]


def number_text(step: float) -> str:
    """Return a step as notes show it."""
    return f"{step:,.0f}" if float(step).is_integer() else f"{step:,g}"
