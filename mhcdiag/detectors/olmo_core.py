"""OLMo-core's stability monitor: six standard deviations above the mean of the last 128 values."""

import numpy as np
from numpy.typing import NDArray

from mhcdiag.detectors.interface import Flagger, Floats
from mhcdiag.detectors.rolling import RollingMoments

WINDOW = 128
SIGMAS = 6.0
LEAST_STD = 1e-10


class _OlmoCoreFlagger:
    """State of one pass over a series."""

    def __init__(self) -> None:
        self._moments = RollingMoments(WINDOW)

    def feed(self, values: Floats) -> NDArray[np.bool_]:
        """Return which of the next values are flagged."""
        mean, variance = self._moments.feed(values)
        std = np.sqrt(variance)
        return (std >= LEAST_STD) & (values > mean + SIGMAS * std)


class OlmoCore:
    """The rule and its words."""

    name = "olmo-core"
    title = "OLMo-core stability monitor"
    explanation = (
        "Flags a value above the mean plus 6 population standard deviations of the 128 values before it. "
        "The window must be full; a standard deviation below 1e-10 flags nothing. Flagged values enter "
        "the window, so that a second spike within 128 points hides behind the first. Its spike score is "
        "the share of flagged values.\n"
        "Source: allenai/OLMo-core, train/callbacks/stability_monitor.py (window_size 128, threshold_std "
        "6.0)."
    )

    def start(self) -> Flagger:
        """Return the state of a pass over one series."""
        return _OlmoCoreFlagger()
