"""Golden values of Megatron-LM's functional tests: one JSON object of series."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mhcdiag.errors import LogError
from mhcdiag.runlogs.builder import TableBuilder
from mhcdiag.runlogs.documents import load_document, opens_document, read_document
from mhcdiag.runlogs.interface import NanFamily, Record, Sample
from mhcdiag.runlogs.records import numbers_of
from mhcdiag.runlogs.sources import LogSource

_STEP = re.compile(r"-?[0-9]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class GoldenValues:
    """Series by name, each with its first step, its interval and its values."""

    name: str = "golden_values"
    """Name on the command line and in reports."""
    title: str = "golden values of Megatron-LM (JSON)"
    """What the format is, in a few words."""
    preferred: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"loss": ("lm loss", "lm_loss")})
    """Canonical name -> names in the log, best first."""
    nan_family: NanFamily = "golden"
    """The word "nan" stands for "not recorded"."""

    def fits(self, sample: Sample) -> bool:
        """Say whether a file is in this format.

        Arguments: sample: of the file.
        """
        head = sample.head[:4096]
        return opens_document(sample) and b'"start_step"' in head and b'"values"' in head

    def read(self, source: LogSource, table: TableBuilder) -> None:
        """Read a whole file.

        Arguments: source: the opened file; table: takes the records. Raises: LogError.
        """
        document = load_document(source, read_document(source))
        if not isinstance(document, dict):
            raise LogError(source.path, found="no JSON object", expected="series by name")
        rows: dict[float, dict[str, float]] = {}
        for name, series in document.items():
            for step, value in _points(series).items():
                rows.setdefault(step, {})[name] = value
        never = {name for name in document if all(row.get(name, 0.0) != row.get(name, 0.0) for row in rows.values())}
        for number, step in enumerate(sorted(rows), start=1):
            values = {name: value for name, value in rows[step].items() if name not in never}
            table.add(Record(line=number, step=step, values=values))
        if never:
            table.notes.append(f"never recorded (all nan): {', '.join(sorted(never))}")
        table.lines = table.rows


def _points(series: Any) -> dict[float, float]:
    if not isinstance(series, dict):
        return {}
    values = series.get("values")
    if isinstance(values, list):  # files of before 2025
        first, interval = series.get("start_step", 0), series.get("step_interval", 1)
        if not isinstance(first, int) or not isinstance(interval, int):
            return {}
        values = {str(first + number * interval): value for number, value in enumerate(values)}
    found = numbers_of(values) if isinstance(values, dict) else {}
    return {float(step): value for step, value in found.items() if _STEP.fullmatch(step)}


GOLDEN_VALUES = GoldenValues()
