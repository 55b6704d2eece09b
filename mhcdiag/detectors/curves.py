"""A series small enough to draw: the lowest and highest value of each of at most a few thousand bins."""

import numpy as np

from mhcdiag.detectors.interface import Floats
from mhcdiag.results.spikes import Curve

MOST = 4096
"""Bins of a curve; twice the pixels of a figure."""


class CurveBuilder:
    """Bins the points of one series while it is read; bins double when there are too many.

    Lowest and highest value of each bin are kept, not a mean: a blip of one step in a million must stay on the figure.
    """

    def __init__(self) -> None:
        self._width = 1
        self._run = 0
        self._bins = np.empty((0, 4))
        self._rest = np.empty((0, 4))

    def new_run(self, run: int) -> None:
        """Begin another run: no bin holds points of two."""
        # A bin that is not full yet is closed: the level of the next run would stretch it.
        self._bins, self._rest = self._all(), np.empty((0, 4))
        self._run = run

    def feed(self, step: Floats, value: Floats) -> None:
        """Take the next finite points of the series."""
        points = np.concatenate(
            [
                self._rest,
                np.column_stack([np.full(len(step), self._run, dtype=np.float64), step, value, value]),
            ]
        )
        whole = len(points) // self._width * self._width
        self._bins = np.concatenate([self._bins, _binned(points[:whole], self._width)])
        self._rest = points[whole:]
        while len(self._bins) > MOST:
            even = len(self._bins) // 2 * 2
            self._bins = np.concatenate([_binned(self._bins[:even], 2), self._bins[even:]])
            self._width *= 2

    def curve(self) -> Curve:
        """Return the curve so far."""
        bins = self._all()
        return Curve(
            run=tuple(int(run) for run in bins[:, 0]),
            step=tuple(bins[:, 1].tolist()),
            low=tuple(bins[:, 2].tolist()),
            high=tuple(bins[:, 3].tolist()),
        )

    def _all(self) -> Floats:
        return np.concatenate([self._bins, _binned(self._rest, len(self._rest))])


def _binned(points: Floats, width: int) -> Floats:
    """Join each `width` rows of run, step, low and high."""
    if not len(points):
        return np.empty((0, 4))
    groups = points.reshape(-1, width, 4)
    return np.column_stack([groups[:, 0, 0], groups[:, 0, 1], groups[:, :, 2].min(axis=1), groups[:, :, 3].max(axis=1)])
