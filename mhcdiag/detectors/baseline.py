"""The course a series was on: level and scale of the points before the one that is judged.

All statistics are medians, so that up to half of a window may be wrong without moving them.

The level is the median of the newest quarter of the window, and the scale is measured around a line through it. Plainer
rules broke on real logs: a median over 200 points lies above a loss that falls and finds 11 of 23 labelled spikes, and
deviations that hold the trend (a standard deviation over 1000 points) find 5. Nor is the line extrapolated to the point
that is judged: in the convex early descent it predicts too little, and clean runs get shifts of a hundred points.

Series that are positive throughout the window are judged by their logarithm. The noise of a loss or of a
gradient norm is multiplicative (it shrinks with the loss, and it is skewed towards high values for small
batches); in the logarithm it is close to symmetric, and a threshold in units of its scale means the same
at 11 nats and at 0.1. (A fine-tuning of GPT-2 with tiny batches, 24,000 steps between 0.05 and 0.25, has 59 events
without and 40 with it.) A window with zero or negative values is judged as it is: 42 % of the losses in
DeepSpeed-Chat's PPO log are negative.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mhcdiag.detectors.interface import Floats

MAD_TO_SIGMA = 1.4826
"""Standard deviation of a normal distribution in units of its median absolute deviation."""

LEAST_SCALE = 1e-3
"""Smallest scale relative to the level: a constant series has none, and a log shows three or four digits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Baselines:
    """Level and scale of several windows; entry i of every array belongs to window i."""

    level: Floats
    """Median of the newest quarter of the window; its logarithm where `logarithmic`."""
    scale: Floats
    """Standard deviation of the noise around a line through the window, in the unit of `level`."""
    size: Floats
    """What a rise is measured against: median size of the newest quarter, in the unit of the series."""
    logarithmic: NDArray[np.bool_]
    """Whether the window holds positive values only."""

    def reach(self, z: float | Floats, rise: float) -> Floats:
        """Return for each window the smallest value `z` scales and the share `rise` above its level."""
        with np.errstate(over="ignore"):
            least = np.where(self.logarithmic, np.log1p(rise), rise * self.size)
            reached = self.level + np.maximum(z * self.scale, least)
            return np.where(self.logarithmic, np.exp(reached), reached)

    def values(self) -> Floats:
        """Return the levels in the unit of the series."""
        return np.where(self.logarithmic, np.exp(np.minimum(self.level, 700.0)), self.level)

    def excess(self, values: Floats) -> Floats:
        """Return how far the values lie above the level of their window, in its unit."""
        with np.errstate(all="ignore"):
            scaled = np.where(self.logarithmic, np.log(np.maximum(values, 0.0)), values)
            return scaled - self.level

    def take(self, index: NDArray[np.int64] | slice) -> "Baselines":
        """Return some of the windows."""
        return Baselines(
            level=self.level[index],
            scale=self.scale[index],
            size=self.size[index],
            logarithmic=self.logarithmic[index],
        )


def sliding_baselines(values: Floats, *, window: int, stride: int = 1) -> Baselines:
    """Return the baselines of all windows of `values` whose start is a multiple of `stride`.

    Parameters
    ----------
    values
        Finite, at least `window` of them, in order.
    window
        Points in a window.
    stride
        Points between the starts of two windows.
    """
    positive: NDArray[np.bool_] = np.asarray(values > 0)
    if positive.all():
        rows = _windows(np.log(values), window, stride)  # each logarithm once, not once per window
        return _baselines(rows, size=np.ones(len(rows)), positive=np.ones(len(rows), dtype=np.bool_))
    windows = _windows(values, window, stride)
    whole: NDArray[np.bool_] = np.asarray(_windows(positive, window, stride).all(axis=1))
    rows = windows.copy()
    rows[whole] = np.log(windows[whole])
    size = np.where(whole, 1.0, _median(np.abs(windows[:, -_newest(window) :])))
    return _baselines(rows, size=size, positive=whole)


def medians(values: Floats, ends: NDArray[np.int64], window: int) -> Floats:
    """Return the medians of the `window` values before each end.

    Parameters
    ----------
    values
        In order.
    ends
        Indices, each at least `window`, equally spaced.
    """
    stride = int(ends[1] - ends[0]) if len(ends) > 1 else 1
    return _median(_windows(values[ends[0] - window : ends[-1]], window, stride))


def linear_deviation(values: Floats) -> float:
    """Return the median absolute deviation of some values from a line; at least half their rounding."""
    deviation = _deviation(values[None, :])
    return float(np.maximum(deviation, _half_quantum(values[None, :], deviation))[0])


def _windows(values: NDArray[Any], window: int, stride: int) -> NDArray[Any]:
    """All windows as a view, without the checks of `sliding_window_view`: they cost as much as a median."""
    values = np.ascontiguousarray(values)
    step = values.strides[0]
    count = (len(values) - window) // stride + 1
    return np.ndarray((count, window), values.dtype, buffer=values, strides=(stride * step, step))


def _newest(window: int) -> int:
    return max(window // 4, 1)


def _baselines(rows: Floats, *, size: Floats, positive: NDArray[np.bool_]) -> Baselines:
    level = _median(rows[:, -_newest(rows.shape[1]) :])
    deviation = _deviation(rows)
    deviation = np.maximum(deviation, _half_quantum(rows, deviation))
    # A window of zeros has neither level nor noise; anything above it is a rise.
    scale = np.maximum(MAD_TO_SIGMA * deviation, np.maximum(LEAST_SCALE * size, np.finfo(np.float64).tiny))
    return Baselines(level=level, scale=scale, size=size, logarithmic=positive)


def _median(rows: Floats) -> Floats:
    """Median of each row; a sort beats a selection for rows of this length."""
    middle = rows.shape[1] // 2
    ordered = np.sort(rows, axis=1)
    if rows.shape[1] % 2:
        return ordered[:, middle]
    return (ordered[:, middle - 1] + ordered[:, middle]) / 2


def _deviation(rows: Floats) -> Floats:
    """Median absolute deviation from the line through the medians of both halves.

    The line takes the trend out: without it the scale of a falling loss grows with the window, and spikes
    are missed.
    """
    points = rows.shape[1]
    half = points // 2
    first, second = _median(rows[:, :half]), _median(rows[:, points - half :])
    slope = (second - first) / (points - half)
    distance = rows - ((first + second) / 2)[:, None]
    distance -= slope[:, None] * (np.arange(points) - (points - 1) / 2)
    np.abs(distance, out=distance)
    # The upper of two middle values: one selection, and the difference is far below the error of the
    # estimate.
    return np.partition(distance, points // 2, axis=1)[:, points // 2]


def _half_quantum(rows: Floats, deviation: Floats) -> Floats:
    """Half of the step between the values a rounded series can take.

    When half of the points share one printed value the deviation is 0, but the noise before rounding may
    have reached half a step. llm.c prints norms with two decimals: for long stretches the deviation is exactly 0, and
    every 0.24 would be a spike of a hundred deviations. SPAM's losses are bf16, in steps of 1/32. The step is the
    smallest difference between two different values of the window.
    """
    coarse = np.flatnonzero(_smallest_gaps(rows) / 2 > deviation)
    quantum = np.zeros(len(rows))
    if len(coarse):
        gaps = _smallest_gaps(np.sort(rows[coarse], axis=1))
        quantum[coarse] = np.where(np.isfinite(gaps), gaps, 0.0)
    return quantum / 2


def _smallest_gaps(rows: Floats) -> Floats:
    """Smallest difference between neighbours that differ, for each row; infinity when none do.

    Neighbours in time bound the step between values from above, which spares most windows the sort.
    """
    gaps = np.abs(np.diff(rows, axis=1))
    if gaps.min() > 0:  # not a rounded series: nothing repeats
        return np.asarray(gaps.min(axis=1))
    same = 1e-9 * np.abs(rows).max(axis=1, keepdims=True)
    gaps[gaps <= same] = np.inf
    return np.asarray(gaps.min(axis=1))
