"""How far single points of a series stray by its own habit.

Normal noise passes six deviations once in a billion points; noise with the tails of Student's t with 8
degrees of freedom does so once in 8,000, and a log of a million steps holds a hundred such points. The
largest excursion of each block of points tells the two apart (the block maxima of extreme-value theory)
and needs no model of the noise; the median over some blocks is not moved by a real spike.
"""

from collections import deque
from statistics import median

import numpy as np

from mhcdiag.detectors.baseline import Baselines

WINDOWS = 16
"""Windows in a block: 2048 points. Shorter blocks say little about tails, longer ones take long to fill."""

BLOCKS = 9
"""Blocks that are remembered; from 3 on they count."""

MARGIN = 1.65
"""A lone point must be this many times as high as the usual maximum of a block. Normal noise: 1.65 * 3.4
deviations, below the 6 that are asked for anyway. t with 8 degrees: 1.65 * 4.9 = 8.1, which one point in
100,000 passes."""

MOST = 1.5
"""The demand grows by half at most: in a series full of data outliers the largest ones are still worth a
name."""


class Tail:
    """Maxima and scales of the points of a series, block by block."""

    def __init__(self) -> None:
        self._excess = 0.0
        self._scales: list[float] = []
        self._logarithmic: set[bool] = set()
        self._blocks: deque[tuple[bool, float, float]] = deque(maxlen=BLOCKS)

    def note(self, excess: float) -> None:
        """Take the height of points above their level; the largest of them is enough.

        Arguments: excess: in the unit of the level.
        """
        self._excess = max(self._excess, excess)

    def note_scales(self, baselines: Baselines) -> None:
        """Take the scales by which these points were judged."""
        self._scales += baselines.scale.tolist()
        self._logarithmic.update(baselines.logarithmic.tolist())

    def end_block(self) -> None:
        """Close the block; one that mixes logarithms and plain values says nothing."""
        if len(self._logarithmic) == 1:
            scale = median(self._scales)
            self._blocks.append((self._logarithmic.pop(), self._excess / scale, scale))
        self._excess, self._scales, self._logarithmic = 0.0, [], set()

    def sure(self, baseline: Baselines, z: float) -> float:
        """Return the value from which a lone point is no part of the tail.

        The scale of one window is known to 10 %; where it is low by chance, the tail would pass. So the
        usual scale of the blocks counts where it is larger.

        Arguments: baseline: one window; z: deviations asked for in normal noise.
        """
        known = [(height, scale) for kind, height, scale in self._blocks if kind == bool(baseline.logarithmic[0])]
        if len(known) < 3:
            return float(baseline.reach(z, 0.0)[0])
        threshold = min(max(z, MARGIN * median(height for height, _ in known)), MOST * z)
        usual = median(scale for _, scale in known)
        return float(baseline.reach(threshold * float(np.maximum(1.0, usual / baseline.scale[0])), 0.0)[0])
