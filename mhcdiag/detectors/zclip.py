"""ZClip's z-score on exponential moving averages that are updated with the clipped value."""

import math

import numpy as np
from numpy.typing import NDArray

from mhcdiag.detectors.interface import Flagger, Floats

ALPHA = 0.97
THRESHOLD = 2.5
WARMUP = 25
EPSILON = 1e-6


class _ZClipFlagger:
    """State of one pass over a series."""

    def __init__(self) -> None:
        self._first: list[float] = []
        self._mean = 0.0
        self._variance = 0.0

    def feed(self, values: Floats) -> NDArray[np.bool_]:
        """Return which of the next values are flagged."""
        return np.fromiter((self._take(value) for value in values.tolist()), dtype=np.bool_, count=len(values))

    def _take(self, value: float) -> bool:
        if len(self._first) < WARMUP:
            self._first.append(value)
            if len(self._first) == WARMUP:
                self._mean = math.fsum(self._first) / WARMUP
                self._variance = math.fsum((one - self._mean) ** 2 for one in self._first) / WARMUP
            return False
        std = math.sqrt(self._variance)
        z = (value - self._mean) / (std + EPSILON)
        flagged = z > THRESHOLD
        if flagged:
            value = self._mean + THRESHOLD * std / (z / THRESHOLD)
        self._mean = ALPHA * self._mean + (1 - ALPHA) * value
        self._variance = ALPHA * self._variance + (1 - ALPHA) * (value - self._mean) ** 2
        return flagged


class ZClip:
    """The rule and its words."""

    name = "zclip"
    title = "ZClip's z-score"
    explanation = (
        "Keeps exponential moving averages of mean and variance (alpha 0.97, started from 25 values) and "
        "flags a value more than 2.5 standard deviations above the mean. The averages are updated with "
        "the clipped value, which keeps spikes out of them. It is made to clip gradient norms at every "
        "step, not to report events: 2.5 deviations are passed by chance every hundred steps or so.\n"
        "Source: ZClip (arXiv 2504.02507)."
    )

    def start(self) -> Flagger:
        """Return the state of a pass over one series."""
        return _ZClipFlagger()
