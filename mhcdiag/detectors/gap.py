"""The gap between the losses of two runs, step by step."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mhcdiag.detectors.baseline import MAD_TO_SIGMA
from mhcdiag.detectors.interface import Floats

SHARE = 50
"""The smoothing window is this part of the common steps: fine enough to place an opening, coarse enough to
see it."""

LONGEST = 501
"""Points of the window at most: a running median costs its length at every point."""

DEVIATIONS = 6.0
"""Standard errors of the smoothed gap from which it is open, as for spikes."""

LEAST_GAP = 1e-3
"""Smallest gap relative to the loss that counts as open: two runs of the same seed have no noise between them, and
differ in the last printed digit."""

DRAWN = 2000
"""Points of the gap that a report and a figure show at most."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Gap:
    """Smoothed difference of two losses."""

    step: Floats
    """Common steps."""
    mine: Floats
    """Loss of the first run there."""
    theirs: Floats
    """Loss of the second."""
    smooth: Floats
    """Running median of the difference, in the unit of the loss."""
    opens: float | None
    """Step from which it stays open until the end."""


def loss_gap(first: tuple[Floats, Floats], second: tuple[Floats, Floats]) -> Gap:
    """Return the loss of the first run minus that of the second at the steps of both.

    Runs of the same data see the same batches at the same steps, so that the noise of both losses mostly cancels in the
    difference. Where they share hardly any step (other logging intervals), the second is interpolated.

    Parameters
    ----------
    first, second
        Steps, strictly increasing, and losses.
    """
    step, mine, theirs = _aligned(first, second)
    gap = mine - theirs
    window = max(min(len(gap) // SHARE, LONGEST) | 1, 1)
    smooth = _running_median(gap, window)
    noise = MAD_TO_SIGMA * float(np.median(np.abs(gap - smooth))) if len(gap) else 0.0
    level = float(np.median(np.abs(theirs))) if len(gap) else 0.0
    # 1.2533: a median of normal values scatters that much more than their mean.
    limit = max(DEVIATIONS * 1.2533 * noise / window**0.5, LEAST_GAP * level)
    return Gap(step=step, mine=mine, theirs=theirs, smooth=smooth, opens=_opens(step, np.abs(smooth) > limit))


def _aligned(first: tuple[Floats, Floats], second: tuple[Floats, Floats]) -> tuple[Floats, Floats, Floats]:
    # Half of the shorter run in common is enough; interpolating would smear the losses of the others.
    common, mine, theirs = np.intersect1d(first[0], second[0], assume_unique=True, return_indices=True)
    if 2 * len(common) >= min(len(first[0]), len(second[0])):
        return common, first[1][mine], second[1][theirs]
    if not len(second[0]):
        return common, first[1][mine], second[1][theirs]
    inside = (first[0] >= second[0][0]) & (first[0] <= second[0][-1])
    return first[0][inside], first[1][inside], np.interp(first[0][inside], second[0], second[1])


def _running_median(values: Floats, window: int) -> Floats:
    if len(values) < window or window < 2:
        return values
    padded = np.pad(values, window // 2, mode="edge")
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(padded, window), axis=1))


def _opens(step: Floats, is_open: NDArray[np.bool_]) -> float | None:
    # A gap that closed again is not what the comparison is about: which run ends better, and since when.
    if not len(step) or not is_open[-1]:
        return None
    closed = np.flatnonzero(~is_open)
    return float(step[closed[-1] + 1]) if len(closed) else float(step[0])
