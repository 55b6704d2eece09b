"""MLPerf's `:::MLLOG` lines."""

import math
import re
from typing import Any

from mhcdiag.runlogs.interface import Keys, LineFormat, LogRecord
from mhcdiag.runlogs.records import lost_loss, numbers_of, parse_json

_MARK = re.compile(r":::MLLOGv?[\d.]*\s*(?=\{)")
# Names of the step inside "metadata", best first; it counts samples in most submissions.
_STEPS = ("step", "samples_count", "step_num", "epoch_num")
# Most events are marks of time ("run_start") and settings of the run ("opt_base_learning_rate"), not points of a
# series.
_STATISTICS = re.compile(r"tracked_stats|.*(?:loss|accuracy|norm)$")


class MLLogParser:
    """Reads one object a line."""

    def __init__(self, keys: Keys) -> None:
        self._steps = (keys.step,) if keys.step is not None else _STEPS

    def feed(self, line: int, text: str) -> LogRecord | None:
        """Return the record of a line, or None."""
        mark = _MARK.search(text)
        if mark is None:
            return None
        try:
            found = parse_json(text[mark.end() :])
        except ValueError:
            return LogRecord(line=line, values={}, garbled="train_loss" in text)
        key, value = found.get("key"), found.get("value")
        if not isinstance(key, str) or _STATISTICS.match(key) is None:
            return None
        given = value if isinstance(value, dict) else {key: value}
        values, lost = numbers_of(given), lost_loss(given)
        step = self._step_of(found.get("metadata"))
        if not values or step is None:
            return LogRecord(line=line, values={}, garbled=True) if lost else None
        stamp = numbers_of({"time_ms": found.get("time_ms")})
        return LogRecord(line=line, step=step, values=values | stamp, garbled=lost)

    def finish(self) -> LogRecord | None:
        """Return None: no record is longer than its line."""
        return None

    def _step_of(self, metadata: Any) -> float | None:
        numbers = numbers_of(metadata) if isinstance(metadata, dict) else {}
        steps = (numbers[name] for name in self._steps if name in numbers)
        return next((step for step in steps if math.isfinite(step)), None)


# mlperf_logging of MLCommons, in training_results_v3.0 (63e326c4), as NVIDIA's and CoreWeave's GPT-3 runs write it:
# :::MLLOG {"namespace": "", "time_ms": 1684435766361, "event_type": "POINT_IN_TIME", "key": "tracked_stats",
#     "value": {"train_step_timing": 2.96, "reduced_train_loss": 2.7798}, "metadata": {"step": 5505024}}
MLLOG = LineFormat(
    name="mllog",
    title="MLPerf :::MLLOG",
    parser=MLLogParser,
    preferred={"loss": ("reduced_train_loss", "train_loss"), "time": ("time_ms",)},
)
