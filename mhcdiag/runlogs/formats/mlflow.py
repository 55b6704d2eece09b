"""Metric files of MLflow (`mlruns/<experiment>/<run>/metrics/<name>`): time, value, step."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mhcdiag.runlogs.builder import TableBuilder
from mhcdiag.runlogs.interface import NanFamily, Record, Sample
from mhcdiag.runlogs.lines import LineSplitter
from mhcdiag.runlogs.records import NUMBER, parse_number
from mhcdiag.runlogs.sources import LogSource, open_source

_LINE = re.compile(rf"(\d{{12,14}}) ({NUMBER}) (-?\d+)(?: \S+)*\s*$")


@dataclass(frozen=True, kw_only=True, slots=True)
class MlflowMetric:
    """One series a file, named by the file; a run folder holds many."""

    name: str = "mlflow"
    """Name on the command line and in reports."""
    title: str = "metric files of MLflow"
    """What the format is, in a few words."""
    preferred: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """No names are fixed: words decide."""
    nan_family: NanFamily = "plain"
    """NaN stand as they are."""

    def fits(self, sample: Sample) -> bool:
        """Say whether a file is in this format.

        Arguments: sample: of the file.
        """
        lines = sample.head[:4096].decode("utf-8", "replace").splitlines()[:3]
        return bool(lines) and all(_LINE.match(line) for line in lines)

    def read(self, source: LogSource, table: TableBuilder) -> None:
        """Read one metric file, or all of a run folder.

        Arguments: source: the opened file or folder; table: takes the records. Raises: LogError.
        """
        folder = Path(source.path) / "metrics"
        if not folder.is_dir():
            _add(table, [(Path(source.path).name, source)])
            return
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        _add(table, [(path.relative_to(folder).as_posix(), open_source(str(path))) for path in files])


def _add(table: TableBuilder, sources: list[tuple[str, LogSource]]) -> None:
    """Take a record per step, all series side by side; a step that was logged twice makes a second record."""
    rows: dict[tuple[int, float], tuple[int, dict[str, float]]] = {}
    for name, source in sources:
        splitter = LineSplitter()
        texts = [text for block in source.blocks() for text in splitter.feed(block).texts] + splitter.finish().texts
        copies: dict[float, int] = {}
        for line, text in enumerate(texts, start=1):
            match = _LINE.match(text.decode("utf-8", "replace"))
            value = parse_number(match[2]) if match is not None else None
            if match is None or value is None:
                table.garbled += "loss" in name and bool(text.strip())
                continue
            step = float(match[3])
            copies[step] = copies.get(step, 0) + 1
            row = rows.setdefault((copies[step], step), (line, {"timestamp": float(match[1]) / 1000}))
            row[1][name] = value
        table.lines += splitter.count
        source.close()
    for (_, step), (line, values) in sorted(rows.items()):
        table.add(Record(line=line, step=step, values=values))


MLFLOW = MlflowMetric()
