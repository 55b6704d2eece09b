"""Numbers that gates can judge, by name: one file per command whose reports hold them."""

import difflib

from mhcdiag.errors import SettingError
from mhcdiag.metrics.gain import gain_metrics
from mhcdiag.metrics.health import health_metrics
from mhcdiag.metrics.interface import Document, Explanation, Metric, Question, Reading
from mhcdiag.metrics.spikes import spikes_metrics

__all__ = ["METRICS", "Document", "Explanation", "Metric", "Question", "Reading", "find_metric"]

METRICS: dict[str, Metric] = {metric.name: metric for metric in (*gain_metrics(), *health_metrics(), *spikes_metrics())}
"""Every metric by its name."""


def find_metric(name: str) -> Metric:
    """Return a metric by its name. Raises: SettingError, with the nearest names."""
    if name in METRICS:
        return METRICS[name]
    near = difflib.get_close_matches(name, METRICS, n=3, cutoff=0.5)
    beginning = sorted({".".join(known.split(".")[:2]) for known in METRICS})
    hint = f"did you mean {' or '.join(near)}?" if near else f"names begin with {', '.join(beginning)}"
    raise SettingError(f"there is no metric '{name}'; {hint}")
