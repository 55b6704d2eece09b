"""Events in training logs: our rule, and those that others have published.

Ours is `excursions` (blips, spikes, shifts) over `course`, `baseline` and `tails`, with `running_minimum` (divergence)
and `nonfinite` (NaN, the fp16 loss scaler) beside it. `series` watches one series, `log` everything in a log.
"""

from mhcdiag.detectors.interface import (
    DetectionSettings,
    Flagger,
    Points,
    PublishedRule,
    RecordBlock,
    Thresholds,
    adjusted,
)
from mhcdiag.detectors.log import LogWatcher, Message
from mhcdiag.detectors.published import KILL_LOSS_SPIKE, MEGATRON_SPIKY, OLMO2, OLMO_CORE, ZCLIP

OURS = "mhcdiag"
"""Name of the default rule."""

RULES: tuple[PublishedRule, ...] = (OLMO2, OLMO_CORE, KILL_LOSS_SPIKE, MEGATRON_SPIKY, ZCLIP)
"""Published rules; ours is not among them, it finds events and not points."""

__all__ = [
    "OURS",
    "RULES",
    "DetectionSettings",
    "Flagger",
    "LogWatcher",
    "Message",
    "Points",
    "PublishedRule",
    "RecordBlock",
    "Thresholds",
    "adjusted",
]
