"""Detection rules: ours, and those that others have published, one file per rule."""

from mhcdiag.detectors.interface import Flagger, Points, Records, Rule
from mhcdiag.detectors.kill_loss_spike import KillLossSpike
from mhcdiag.detectors.log import LogWatcher, Message
from mhcdiag.detectors.megatron_spiky import MegatronSpiky
from mhcdiag.detectors.olmo2 import Olmo2
from mhcdiag.detectors.olmo_core import OlmoCore
from mhcdiag.detectors.settings import Settings, Thresholds, adjusted
from mhcdiag.detectors.zclip import ZClip

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
