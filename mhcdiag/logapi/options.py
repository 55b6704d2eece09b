"""How a log is read and judged."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from mhcdiag.detectors import OURS, RULES, LogWatcher, Rule, Settings
from mhcdiag.detectors.scaler import FAIRSEQ_MINIMUM, MINIMUM
from mhcdiag.errors import SettingError

LOSS = "loss"
GRADIENT_NORM = "grad_norm"
LOSS_SCALE = "loss_scale"


@dataclass(frozen=True, kw_only=True, slots=True)
class LogOptions:
    """How a log is read and judged."""

    rule: str = OURS
    """Name of the detection rule."""
    settings: Settings = field(default_factory=Settings)
    """Constants of our rule."""
    series: tuple[str, ...] = ()
    """Further series to judge, by their names in the log."""
    first_step: float = -np.inf
    """Smallest step that counts."""
    last_step: float = np.inf
    """Largest step that counts."""
    log_format: str | None = None
    """Format of the log; recognised when None."""
    loss_key: str | None = None
    """Name of the loss in the log."""
    step_key: str | None = None
    """Name of the step in the log."""
    regex: str | None = None
    """Pattern in place of a format."""

    def published_rule(self) -> Rule | None:
        """Return the rule in place of ours. Raises: SettingError for a name that is none."""
        if self.rule == OURS:
            return None
        for rule in RULES:
            if rule.name == self.rule:
                return rule
        names = ", ".join([OURS, *(rule.name for rule in RULES)])
        raise SettingError(f"there is no rule '{self.rule}'; there are {names}")

    def watcher(self, series: Iterable[str], log_format: str) -> LogWatcher:
        """Return what watches these series of a log.

        Arguments: series: names; log_format: name of the format, which tells the smallest loss scale.
        """
        least = FAIRSEQ_MINIMUM if log_format == "fairseq" else MINIMUM
        return LogWatcher(tuple(series), self.settings, rule=self.published_rule(), least_scale=least)
