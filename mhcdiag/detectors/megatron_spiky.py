"""Megatron-LM's spiky-loss check: ten times the largest of the first hundred values."""

import numpy as np
from numpy.typing import NDArray

from mhcdiag.detectors.interface import Flagger, Floats

SAMPLES = 100
FACTOR = 10.0


class _MegatronFlagger:
    """State of one pass over a series."""

    def __init__(self) -> None:
        self._seen = 0
        self._largest = 0.0

    def feed(self, values: Floats) -> NDArray[np.bool_]:
        """Return which of the next values are flagged."""
        learned = min(max(SAMPLES - self._seen, 0), len(values))
        if learned:
            self._largest = max(self._largest, float(np.abs(values[:learned]).max()))
        self._seen += len(values)
        flagged = np.abs(values) >= FACTOR * self._largest
        flagged[:learned] = False
        return flagged


class MegatronSpiky:
    """The rule and its words."""

    name = "megatron"
    title = "Megatron-LM --check-for-spiky-loss"
    explanation = (
        "Flags a value whose size is at least 10 times the largest size among the first 100 values. It is "
        "made to find faulty hardware: a run that starts at 11 nats has to reach 110.\n"
        "Source: NVIDIA/Megatron-LM, rerun_state_machine.is_unexpectedly_large (SPIKY_LOSS_FACTOR 10, 100 "
        "samples)."
    )

    def start(self) -> Flagger:
        """Return the state of a pass over one series."""
        return _MegatronFlagger()
