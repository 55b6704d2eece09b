"""What must hold for every text format: found by itself, same when named, same when it grows byte by byte."""

from pathlib import Path

import numpy as np

from mhcdiag.runlogs import Entry, LineReader, LogTable, Row, read_log
from mhcdiag.runlogs.log_table import Restart


def rows_of(content: bytes, name: str, chunk: int, **options: str) -> list[Row]:
    reader = LineReader(log_format=name, **options)
    entries = [entry for at in range(0, len(content), chunk) for entry in reader.feed(content[at : at + chunk])]
    return final_rows([*entries, *reader.close()])


def final_rows(entries: list[Entry]) -> list[Row]:
    """The rows that stand at the end: those after the last restart."""
    last = max((at for at, entry in enumerate(entries) if isinstance(entry, Restart)), default=-1)
    return [entry for entry in entries[last + 1 :] if isinstance(entry, Row)]


def same_as_rows(table: LogTable, rows: list[Row]) -> None:
    np.testing.assert_array_equal([row.step for row in rows], table.step)
    np.testing.assert_array_equal([row.line for row in rows], table.line)
    for name, column in table.columns.items():
        np.testing.assert_array_equal([row.values.get(name, np.nan) for row in rows], column, err_msg=name)
        recorded = table.nan_rows.get(name, np.zeros(len(rows), dtype=bool))
        np.testing.assert_array_equal([name in row.nan for row in rows], recorded, err_msg=name)


def check_text(
    tmp_path: Path, log: str, name: str, *, steps: list[float], lines: list[int], **series: list[float | None]
) -> LogTable:
    """Read a log; None stands for a value that was not recorded. Returns the table for more questions."""
    path = tmp_path / "train.log"
    path.write_bytes(log.encode())
    table = read_log(str(path))
    assert table.format == name
    assert table.step.tolist() == steps
    assert table.line.tolist() == lines
    for key, values in series.items():
        expected = [np.nan if value is None else value for value in values]
        np.testing.assert_array_equal(table.columns[key], expected, err_msg=key)
    assert table.unreadable_lines == 0
    for chunk in (1, 7, len(log)):
        same_as_rows(read_log(str(path), log_format=name), rows_of(log.encode(), name, chunk))
    return table
