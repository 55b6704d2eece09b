"""When a monitored run is in danger, and what happens then."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from mhcdiag.errors import GainAlarmError
from mhcdiag.results.gain import LiveGains
from mhcdiag.results.numbers import Number, log10_of, text, within

logger = logging.getLogger("mhcdiag")


class AlarmAction(StrEnum):
    """What an alarm does."""

    LOG = "log"
    """Write a warning to the logger `mhcdiag`."""
    STOP = "stop"
    """Stop the run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Alarm:
    """Limits of a run."""

    max_gain: float | None = None
    """Largest token mean that is still fine, forward or backward."""
    max_growth: float | None = None
    """Largest factor between two reports that is still fine."""
    action: AlarmAction | Callable[[LiveGains, str], None] = AlarmAction.LOG
    """What to do; a function gets the report and the reason."""

    def reason(self, now: LiveGains, before: LiveGains | None) -> str | None:
        """Why this report is an alarm; None where it is not.

        NaN is an alarm: `within` and the growth ask whether a number is fine, not whether it is too large.
        """
        if self.max_gain is not None and not within(now.worst, self.max_gain):
            return f"step {now.step}: composite gain {text(now.worst)} above the limit {text(self.max_gain)}"
        if (
            self.max_growth is not None
            and before is not None
            and not _grew_within(before.worst, now.worst, self.max_growth)
        ):
            return (
                f"step {now.step}: composite gain {text(now.worst)} after {text(before.worst)} at step {before.step}, "
                f"more than {text(self.max_growth)} times as much"
            )
        return None

    def raise_alarm(self, found: LiveGains, reason: str) -> None:
        """Do what was asked for.

        Raises
        ------
        GainAlarmError
            The run is to stop.
        """
        if self.action is AlarmAction.STOP:
            raise GainAlarmError(reason)
        if self.action is AlarmAction.LOG:
            logger.warning("%s", reason)
        elif callable(self.action):
            self.action(found, reason)


def _grew_within(before: Number, now: Number, factor: float) -> bool:
    """False for NaN, too."""
    return log10_of(now) - log10_of(before) <= log10_of(factor)
