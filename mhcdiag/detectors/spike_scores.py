"""The two spike scores people compare with, over all runs of a log."""

import numpy as np

from mhcdiag.detectors import olmo2, olmo_core
from mhcdiag.detectors.interface import Floats
from mhcdiag.results.spikes import SpikeScore


class SpikeScores:
    """Counts flagged points of one series while it is read."""

    def __init__(self) -> None:
        self._olmo2 = _Share(olmo2.Olmo2(), olmo2.WINDOW)
        self._olmo_core = _Share(olmo_core.OlmoCore(), olmo_core.WINDOW)

    def new_run(self) -> None:
        """Begin a new window: the points of another run say nothing about this one."""
        self._olmo2.restart()
        self._olmo_core.restart()

    def feed(self, values: Floats) -> None:
        """Take the next finite values of the series."""
        self._olmo2.feed(values)
        self._olmo_core.feed(values)

    def score(self) -> SpikeScore:
        """Return both scores so far."""
        return SpikeScore(olmo2=self._olmo2.share(), olmo_core=self._olmo_core.share())


class _Share:
    """Share of the points that a rule flags."""

    def __init__(self, rule: olmo2.Olmo2 | olmo_core.OlmoCore, window: int) -> None:
        self._rule = rule
        self._window = window
        self._points = 0
        self._flagged = 0
        self._longest = 0
        self.restart()

    def restart(self) -> None:
        self._flagger = self._rule.start()
        self._run = 0

    def feed(self, values: Floats) -> None:
        self._flagged += int(np.count_nonzero(self._flagger.feed(values)))
        self._points += len(values)
        self._run += len(values)
        self._longest = max(self._longest, self._run)

    def share(self) -> float:
        return self._flagged / self._points if self._longest > self._window else float("nan")
