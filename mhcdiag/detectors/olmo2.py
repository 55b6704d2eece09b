"""The spike score of the OLMo 2 paper: seven standard deviations from the mean of the last 1000 values."""

import numpy as np
from numpy.typing import NDArray

from mhcdiag.detectors.interface import Flagger, Floats
from mhcdiag.detectors.rolling import RollingMoments

WINDOW = 1000
SIGMAS = 7.0


class _Olmo2Flagger:
    """State of one pass over a series."""

    def __init__(self) -> None:
        self._moments = RollingMoments(WINDOW)

    def feed(self, values: Floats) -> NDArray[np.bool_]:
        """Return which of the next values are flagged."""
        mean, variance = self._moments.feed(values)
        return (variance > 0) & (np.abs(values - mean) >= SIGMAS * np.sqrt(variance))


class Olmo2:
    """The rule and its words."""

    name = "olmo2"
    title = "spike score of the OLMo 2 paper"
    explanation = (
        "Flags a value at least 7 standard deviations away, on either side, from the mean of the 1000 "
        "values before it. The spike score is the share of flagged values. The long window carries the "
        "trend: where the loss still falls, or is logged every few steps, the standard deviation grows "
        "and spikes are missed.\n"
        "Source: OLMo 2 (arXiv 2501.00656); whether the mean includes the value itself is not said there: "
        "here it does not."
    )

    def start(self) -> Flagger:
        """Return the state of a pass over one series."""
        return _Olmo2Flagger()
