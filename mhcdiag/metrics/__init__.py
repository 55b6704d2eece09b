"""Numbers that gates can judge, by name: one file per command whose records hold them."""

import difflib

from mhcdiag.errors import SettingError
from mhcdiag.metrics.gain import GAIN
from mhcdiag.metrics.health import HEALTH
from mhcdiag.metrics.interface import Examined, Explanation, Found, Group, Metric, Question, Record
from mhcdiag.metrics.spikes import SPIKES
from mhcdiag.metrics.weights import WEIGHTS

__all__ = [
    "GROUPS",
    "METRICS",
    "Examined",
    "Explanation",
    "Found",
    "Group",
    "Metric",
    "Question",
    "Record",
    "find_metric",
]

GROUPS: tuple[Group, ...] = (GAIN, HEALTH, WEIGHTS, SPIKES)
"""Every group; `metrics/interface.py` says what an entry must keep to."""

METRICS: dict[str, Metric] = {metric.name: metric for group in GROUPS for metric in group.metrics}
"""Every metric by its name."""


def find_metric(name: str) -> Metric:
    """Return a metric by its name; SettingError, with the nearest names, where there is none."""
    if name in METRICS:
        return METRICS[name]
    near = difflib.get_close_matches(name, METRICS, n=3, cutoff=0.5)
    beginning = sorted({".".join(known.split(".")[:2]) for known in METRICS})
    hint = f"did you mean {' or '.join(near)}?" if near else f"names begin with {', '.join(beginning)}"
    raise SettingError(f"there is no metric '{name}'; {hint}")
