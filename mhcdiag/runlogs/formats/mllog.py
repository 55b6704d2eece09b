"""MLPerf's `:::MLLOG` lines."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mhcdiag.runlogs.interface import Keys, NanFamily, Record
from mhcdiag.runlogs.records import lost_loss, numbers_of, parse_json

_MARK = re.compile(r":::MLLOGv?[\d.]*\s*(?=\{)")
_STEPS = ("step", "samples_count", "step_num", "epoch_num")
_STATISTICS = re.compile(r"tracked_stats|.*(?:loss|accuracy|norm)$")


@dataclass(frozen=True, kw_only=True, slots=True)
class MLLog:
    """JSON behind a mark; the step counts samples."""

    name: str = "mllog"
    """Name on the command line and in reports."""
    title: str = "MLPerf :::MLLOG"
    """What the format is, in a few words."""
    preferred: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: {"loss": ("reduced_train_loss", "train_loss"), "time": ("time_ms",)}
    )
    """Canonical name -> names in the log, best first."""
    nan_family: NanFamily = "plain"
    """NaN stand as they are."""

    def parser(self, keys: Keys) -> "MLLogParser":
        """Return the state for one pass.

        Arguments: keys: what the user said about names.
        """
        return MLLogParser(keys)


class MLLogParser:
    """Reads one object a line."""

    def __init__(self, keys: Keys) -> None:
        self._steps = (keys.step,) if keys.step is not None else _STEPS

    def feed(self, line: int, text: str) -> Record | None:
        """Return the record of a line, or None.

        Arguments: line: 1-based; text: without prefix and line end.
        """
        mark = _MARK.search(text)
        if mark is None:
            return None
        try:
            found = parse_json(text[mark.end() :])
        except ValueError:
            return Record(line=line, values={}, garbled="train_loss" in text)
        key, value = found.get("key"), found.get("value")
        if not isinstance(key, str) or _STATISTICS.match(key) is None:
            return None
        given = value if isinstance(value, dict) else {key: value}
        values, lost = numbers_of(given), lost_loss(given)
        step = self._step_of(found.get("metadata"))
        if not values or step is None:
            return Record(line=line, values={}, garbled=True) if lost else None
        stamp = numbers_of({"time_ms": found.get("time_ms")})
        return Record(line=line, step=step, values=values | stamp, garbled=lost)

    def finish(self) -> Record | None:
        """Return None: no record is longer than its line."""
        return None

    def _step_of(self, metadata: Any) -> float | None:
        numbers = numbers_of(metadata) if isinstance(metadata, dict) else {}
        steps = (numbers[name] for name in self._steps if name in numbers)
        return next((step for step in steps if math.isfinite(step)), None)


MLLOG = MLLog()
