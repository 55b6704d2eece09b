"""Mean and variance of the points before each point, as the published rules use them."""

import numpy as np

from mhcdiag.detectors.interface import Floats

_ROWS = 8192
"""Windows that are summed from one running sum; the rounding errors of longer sums would show."""

_LOST = 1e-7
"""Share of the variance that rounding may have cost; beyond it a window is summed on its own."""


class RollingMoments:
    """Moments of the last `window` values, the current one excluded, in constant memory.

    Parameters
    ----------
    window
        Values that count; a point with fewer before it has NaN moments.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._before: Floats = np.empty(0)

    def feed(self, values: Floats) -> tuple[Floats, Floats]:
        """Return mean and population variance of the window before each value."""
        means, variances = np.full(len(values), np.nan), np.full(len(values), np.nan)
        for start in range(0, len(values), _ROWS):
            block = slice(start, min(start + _ROWS, len(values)))
            known = np.concatenate([self._before, values[block]])
            missing = max(self._window - len(self._before), 0)
            target = slice(start + missing, block.stop)
            if target.start < target.stop:
                means[target], variances[target] = _moments(known[:-1], self._window)
            self._before = known[-self._window :]
        return means, variances


def _moments(values: Floats, window: int) -> tuple[Floats, Floats]:
    """Moments of all windows of some values, from differences of running sums.

    The sum of squares less the square of the sum cancels where the values are far from zero or one of them is huge (a
    gradient norm of 1e9 among ones). Values are taken relative to a mean, and windows where too many digits are gone
    are computed on their own.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        center = values[: 4 * window].mean()
        shifted = values - center
        squares = shifted * shifted
        sums = _sums(shifted, window) / window
        variances = np.maximum(_sums(squares, window) / window - sums * sums, 0.0)
        lost = np.finfo(np.float64).eps * squares.sum()
        lossy = ~(variances * _LOST > lost)
        if lossy.any():
            # A constant series is lossy everywhere, and would cost a variance per point: it has none.
            constant = _sums((np.diff(values) != 0).astype(np.float64), window - 1) == 0
            variances[constant] = 0.0
            lossy &= ~constant
        for doubtful in np.flatnonzero(lossy).tolist():
            variances[doubtful] = values[doubtful : doubtful + window].var()
    return sums + center, variances


def _sums(values: Floats, window: int) -> Floats:
    running = np.concatenate([[0.0], np.cumsum(values)])
    return np.asarray(running[window:] - running[:-window])
