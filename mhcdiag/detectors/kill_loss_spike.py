"""llm-foundry's KillLossSpike callback: twice the mean of a window, five times in a row."""

import numpy as np
from numpy.typing import NDArray

from mhcdiag.detectors.interface import Flagger, Floats
from mhcdiag.detectors.rolling import RollingMoments

WINDOW = 100
MULTIPLIER = 2.0
PATIENCE = 4


class _KillLossSpikeFlagger:
    """State of one pass over a series."""

    def __init__(self) -> None:
        self._moments = RollingMoments(WINDOW)
        self._streak = 0

    def feed(self, values: Floats) -> NDArray[np.bool_]:
        """Return which of the next values are flagged: those with more than `PATIENCE` outliers in a row."""
        if not len(values):
            return np.empty(0, dtype=np.bool_)
        mean, _ = self._moments.feed(values)
        outlier = values >= MULTIPLIER * mean
        position = np.arange(len(values))
        last_normal = np.maximum.accumulate(np.where(outlier, -1 - self._streak, position))
        streak = position - last_normal
        self._streak = int(streak[-1])
        return np.asarray(streak > PATIENCE)


class KillLossSpike:
    """The rule and its words."""

    name = "kill-loss-spike"
    title = "llm-foundry KillLossSpike callback"
    explanation = (
        "Calls a value an outlier if it is at least twice the mean of the 100 values before it, and fires "
        "after more than 4 consecutive outliers. Outliers enter the window. (The callback takes 5 % of "
        "the run as its window where that is more than 100 steps; a log does not tell how long the run "
        "will be. Its second test, a loss that stays above a cap of at most 10, is left out: it means "
        "nothing where losses are summed.)\n"
        "Source: mosaicml/llm-foundry, llmfoundry/callbacks/kill_loss_spike_callback.py (window 100, "
        "outlier_multiplier 2, patience 4)."
    )

    def start(self) -> Flagger:
        """Return the state of a pass over one series."""
        return _KillLossSpikeFlagger()
