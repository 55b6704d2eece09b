"""Metric files of MLflow (`mlruns/<experiment>/<run>/metrics/<name>`): time, value, step."""

import re
from pathlib import Path

from mhcdiag.runlogs.interface import FileFormat, LogRecord, LogSample, RecordTable
from mhcdiag.runlogs.lines import LineSplitter
from mhcdiag.runlogs.records import NUMBER, parse_number
from mhcdiag.runlogs.sources import LogSource, open_source

# Milliseconds since 1970, value, step; newer versions add the name of a data set.
_LINE = re.compile(rf"(\d{{12,14}}) ({NUMBER}) (-?\d+)(?: \S+)*\s*$")


def _fits(sample: LogSample) -> bool:
    lines = sample.head[:4096].decode("utf-8", "replace").splitlines()[:3]
    return bool(lines) and all(_LINE.match(line) for line in lines)


def _read(source: LogSource, table: RecordTable) -> None:
    """Read one metric file, or all of a run folder, where each file is a series."""
    folder = Path(source.path) / "metrics"
    if not folder.is_dir():
        _add(table, [(Path(source.path).name, source)])
        return
    # A name with slashes ("train/loss") is a path inside the folder.
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    _add(table, [(path.relative_to(folder).as_posix(), open_source(str(path))) for path in files])


def _add(table: RecordTable, sources: list[tuple[str, LogSource]]) -> None:
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
        table.add(LogRecord(line=line, step=step, values=values))


# The file store of MLflow, without any header: 1628697792090 332.6841735839844 0
MLFLOW = FileFormat(name="mlflow", title="metric files of MLflow", fits=_fits, read=_read)
