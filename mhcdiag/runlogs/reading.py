"""A whole log to its table."""

import io
from collections.abc import Callable
from pathlib import Path

from mhcdiag.errors import LogError
from mhcdiag.runlogs.builder import TableBuilder
from mhcdiag.runlogs.choosing import choose_format
from mhcdiag.runlogs.detection import unknown
from mhcdiag.runlogs.folders import folder_kind, iter_logs
from mhcdiag.runlogs.interface import FileFormat, Keys, LogTable, Record, TextFormat
from mhcdiag.runlogs.lines import Lines, LineSplitter
from mhcdiag.runlogs.sources import LogSource, open_source
from mhcdiag.runlogs.tables import finish_table
from mhcdiag.runlogs.textpass import Found, TextPass


def read_log(
    path: str,
    *,
    log_format: str | None = None,
    loss_key: str | None = None,
    step_key: str | None = None,
    regex: str | None = None,
) -> LogTable:
    """Read a training log.

    Arguments: path: file, run folder, or `-` for standard input; log_format: name of the format, recognised
    when None; loss_key, step_key: names in the log; regex: pattern with the groups `loss` and `step`, in
    place of a format. Returns: one row per record. Raises: LogError, SettingError, MissingExtraError.
    """
    keys = Keys(loss=loss_key, step=step_key, regex=regex)
    source, log_format = open_log(path, log_format)
    try:
        chosen = choose_format(source, log_format=log_format, keys=keys)
        table = TableBuilder()
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
    """Open a log, or the folder of one run.

    Arguments: path: as the user named it; log_format: the user's choice. Returns: the source, and the format
    if a folder decides it. Raises: LogError when a folder is no run, or holds several logs.
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
    """Read all lines of a text log.

    Arguments: source: the log; log_format: how; table: takes the records; keys: names the user gave.
    """
    parser = log_format.parser(keys)
    feed_block: Callable[..., bool] | None = getattr(parser, "feed_block", None)
    splitter, text = LineSplitter(), TextPass(parser)
    for block in source.blocks():
        lines = splitter.feed(block)
        if feed_block is not None and feed_block(lines.numbers, lines.texts, table):
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


def _take(table: TableBuilder, found: Found) -> None:
    if isinstance(found.item, Record):
        table.add(found.item, rank=found.rank)
    else:
        table.events.append(found.item)
