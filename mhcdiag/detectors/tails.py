"""How far single points of a series stray by its own habit.

Normal noise passes six deviations once in a billion points; noise with the tails of Student's t with 8
degrees of freedom does so once in 8,000, and a log of a million steps holds a hundred such points. The
largest excursion of each block of points tells the two apart (the block maxima of extreme-value theory)
and needs no model of the noise; the median over some blocks is not moved by a real spike. A fixed number of deviations
cannot do this: high enough for the tails of small batches, it misses the bad batches of large ones.

A shock of the noise also leaves an echo where the noise carries over from step to step, and a bad batch
does not: the additive and the innovative outliers of Fox (1972). What a point adds to its neighbours is its
height less what the two of them predict by the autocorrelation of the series. Without it, single steps of 8 to 12
deviations overlapped with heavy tails: recall and precision were met together on four of eight synthetic logs.
"""

from collections import deque
from dataclasses import dataclass
from statistics import median

import numpy as np

from mhcdiag.detectors.baseline import MAD_TO_SIGMA, Baselines
from mhcdiag.detectors.interface import Floats

WINDOWS = 16
"""Windows in a block: 2048 points. Shorter blocks say little about tails, longer ones take long to fill."""

BLOCKS = 49
"""Blocks that are remembered, 100,000 points; from 3 on they count. The maximum of one block scatters by a
fifth, and an error of the demand lets noise through or hides events."""

RECENT = 9
"""Newest blocks whose scale counts: the noise shrinks with the loss, the shape of its tails does not."""

MARGIN = 1.6
"""A lone point must be this many times as high as the usual maximum of a block. Normal noise: 1.6 * 3.4
deviations, below the 6 that are asked for anyway. t with 8 degrees: 1.6 * 4.9 = 7.8, which about one point
in 100,000 passes."""

MOST = 1.5
"""The demand grows by half at most: in a series full of data outliers the largest ones are still worth a
name."""

CHANCE = 1.4
"""Factor by which the scale of one window may differ from the usual one by chance: three times its error of
about 11 %."""

LARGEST_ECHO = 0.5
"""Weight of each neighbour at most, where a series follows its neighbours wholly (a moving average)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TailThreshold:
    """What a lone point has to reach to be more than the tail of the noise."""

    height: float
    """How far it must rise above the level by itself, in the unit of the level."""
    echo: float
    """Share of the height of each neighbour that is expected at the point between them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Block:
    """What one block of points showed."""

    logarithmic: bool
    height: float
    scale: float
    correlation: float


class Tail:
    """Maxima, scales and carry-over of the points of a series, block by block."""

    def __init__(self) -> None:
        self._excess = 0.0
        self._scales: list[float] = []
        self._logarithmic: set[bool] = set()
        self._blocks: deque[_Block] = deque(maxlen=BLOCKS)

    def note(self, excess: float) -> None:
        """Take the height of points above their level, in its unit; the largest of them is enough."""
        self._excess = max(self._excess, excess)

    def note_scales(self, baselines: Baselines) -> None:
        """Take the scales by which these points were judged."""
        self._scales += baselines.scale.tolist()
        self._logarithmic.update(baselines.logarithmic.tolist())

    def end_block(self, newest: Floats) -> None:
        """Close the block; one that mixes logarithms and plain values says nothing.

        Parameters
        ----------
        newest
            The last points of the block, in order.
        """
        if len(self._logarithmic) == 1:
            scale = median(self._scales)
            block = _Block(
                logarithmic=self._logarithmic.pop(),
                height=self._excess / scale,
                scale=scale,
                correlation=carry_over(newest),
            )
            self._blocks.append(block)
        self._excess, self._scales, self._logarithmic = 0.0, [], set()

    def threshold(self, baseline: Baselines, z: float) -> TailThreshold:
        """Return what a lone point above a baseline has to reach.

        The usual scale of the newest blocks is a better estimate than that of one window (whose error of 11 % made a
        fixed factor let noise through or hide events), unless the noise has changed.

        Parameters
        ----------
        baseline
            One window.
        z
            Deviations asked for in normal noise.
        """
        scale = float(baseline.scale[0])
        known = [block for block in self._blocks if block.logarithmic == bool(baseline.logarithmic[0])]
        if len(known) < 3:  # the median of two maxima is either of them
            return TailThreshold(height=z * scale, echo=0.0)
        deviations = min(max(z, MARGIN * median(block.height for block in known)), MOST * z)
        usual = median(block.scale for block in known[-RECENT:])
        if max(usual / scale, scale / usual) <= CHANCE:
            scale = usual
        correlation = max(median(block.correlation for block in known), 0.0)
        echo = min(correlation / (1 + correlation**2), LARGEST_ECHO)
        return TailThreshold(height=deviations * scale, echo=echo)


def carry_over(values: Floats) -> float:
    """Return the correlation of neighbours in some values, outliers cut at three deviations."""
    middle = len(values) // 2
    distance = values - np.sort(values)[middle]
    spread = 3 * MAD_TO_SIGMA * np.sort(np.abs(distance))[middle]
    cut = np.minimum(np.maximum(distance, -spread), spread)
    power = float((cut * cut).sum())
    return float((cut[1:] * cut[:-1]).sum()) / power if power else 0.0
