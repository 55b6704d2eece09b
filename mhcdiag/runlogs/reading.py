"""A whole log to its table."""

import io
from collections.abc import Callable
from pathlib import Path

from mhcdiag.errors import LogError
from mhcdiag.runlogs.builder import TableBuilder
from mhcdiag.runlogs.detection import choose_format, unknown
from mhcdiag.runlogs.folders import folder_kind, iter_logs
from mhcdiag.runlogs.interface import BlockLineParser, FileFormat, Keys, LogRecord, LogTable, TextFormat
from mhcdiag.runlogs.lines import Lines, LineSplitter
from mhcdiag.runlogs.sources import LogSource, open_source
from mhcdiag.runlogs.tables import finish_table
from mhcdiag.runlogs.textpass import TextItem, TextPass


def read_log(
    path: str,
    *,
    log_format: str | None = None,
    loss_key: str | None = None,
    step_key: str | None = None,
    regex: str | None = None,
    keep: Callable[[str], bool] | None = None,
) -> LogTable:
    """Read a training log into a table with one row per record.

    Parameters
    ----------
    path
        A file, the folder of one run, or `-` for standard input.
    log_format
        Name of the format; recognised when None.
    loss_key, step_key
        Names of loss and step in the log; words decide when None.
    regex
        Pattern with the groups `loss` and `step`, in place of a format.
    keep
        Says of a name whether its series is kept even in a log with thousands of series.

    Raises
    ------
    LogError
        The log cannot be read, no format fits, or it does not have the loss that was named.
    SettingError
        There is no such format, the pattern is none, or the log has no such step.
    MissingExtraError
        The log is compressed by zstandard, which is not installed.
    """
    keys = Keys(loss=loss_key, step=step_key, regex=regex)
    source, log_format = open_log(path, log_format)
    try:
        chosen = choose_format(source, log_format=log_format, keys=keys)
        table = TableBuilder(lambda name: name in (loss_key, step_key) or (keep is not None and keep(name)))
        if isinstance(chosen, FileFormat):
            chosen.read(source, table)
        else:
            read_text(source, chosen, table, keys)
        table.notes[:0] = source.notes
        if not table.rows:
            raise unknown(path, source.first)
        return finish_table(table, path=path, log_format=chosen, keys=keys)
    finally:
        source.close()


def open_log(path: str, log_format: str | None) -> tuple[LogSource, str | None]:
    """Open a log, or the folder of one run; return it with the name of its format, which a folder decides.

    Raises
    ------
    LogError
        The folder is no run, or holds several logs.
    """
    folder = Path(path)
    if path == "-" or not folder.is_dir():
        return open_source(path), log_format
    kind = folder_kind(folder)
    if kind is not None:
        return LogSource(path, io.BytesIO()), kind
    logs = iter_logs(path)
    if len(logs) > 1:
        raise LogError(path, found=f"a folder with {len(logs)} logs", expected="one log, or the folder of one run")
    return open_source(logs[0]), log_format


def read_text(source: LogSource, log_format: TextFormat, table: TableBuilder, keys: Keys) -> None:
    """Read all lines of a text log into a table of records."""
    parser = log_format.parser(keys)
    by_block = parser if isinstance(parser, BlockLineParser) else None
    splitter, text = LineSplitter(), TextPass(parser)
    for block in source.blocks():
        lines = splitter.feed(block)
        if by_block is not None and by_block.feed_block(lines.numbers, lines.texts, table):
            continue
        for found in text.feed(lines):
            _take(table, found)
    last: Lines = splitter.finish()
    for found in text.finish(last):
        _take(table, found)
    table.lines = splitter.count
    table.notes.extend(text.notes)
    if splitter.too_long:
        table.notes.append(f"{splitter.too_long:,} lines longer than a million characters: left out")


def _take(table: TableBuilder, found: TextItem) -> None:
    if isinstance(found.item, LogRecord):
        table.add(found.item, rank=found.rank)
    else:
        table.events.append(found.item)
