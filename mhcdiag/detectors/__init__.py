"""Detection rules: ours, and those that others have published, one file per rule."""

from mhcdiag.detectors.interface import Flagger, Points, Records, Rule, Settings, Thresholds, adjusted
from mhcdiag.detectors.log import LogWatcher, Message
from mhcdiag.detectors.published import KillLossSpike, MegatronSpiky, Olmo2, OlmoCore, ZClip

OURS = "mhcdiag"
"""Name of the default rule."""

RULES: tuple[Rule, ...] = (Olmo2(), OlmoCore(), KillLossSpike(), MegatronSpiky(), ZClip())
"""Published rules; ours is not among them, it finds events and not points."""

__all__ = [
    "OURS",
    "RULES",
    "Flagger",
    "LogWatcher",
    "Message",
    "Points",
    "Records",
    "Rule",
    "Settings",
    "Thresholds",
    "adjusted",
]
