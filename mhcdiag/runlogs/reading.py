"""A whole log to its table."""

from collections.abc import Callable

from mhcdiag.runlogs.builder import TableBuilder
from mhcdiag.runlogs.detection import choose_format, unknown
from mhcdiag.runlogs.interface import BlockLineParser, FileFormat, Keys, LogRecord, LogTable, TextFormat
from mhcdiag.runlogs.lines import Lines, LineSplitter
from mhcdiag.runlogs.sources import LogSource
from mhcdiag.runlogs.tables import finish_table
from mhcdiag.runlogs.textpass import TextItem, TextPass


def read_source(
    source: LogSource, *, log_format: str | None, keys: Keys, keep: Callable[[str], bool] | None = None
) -> LogTable:
    """Read an opened log into a table with one row per record.

    Parameters
    ----------
    source
        The log; the caller closes it.
    log_format
        Name of the format; recognised when None.
    keys
        Names that the user gave.
    keep
        Says of a name whether its series is kept even in a log with thousands of series.

    Raises
    ------
    LogError
        The log cannot be read, no format fits, or it does not have the loss that was named.
    SettingError
        There is no such format, the pattern is none, or the log has no such step.
    """
    chosen = choose_format(source, log_format=log_format, keys=keys)
    table = TableBuilder(lambda name: name in (keys.loss, keys.step) or (keep is not None and keep(name)))
    if isinstance(chosen, FileFormat):
        chosen.read(source, table)
    else:
        read_text(source, chosen, table, keys)
    table.notes[:0] = source.notes
    if not table.rows:
        raise unknown(source.path, source.first)
    return finish_table(table, path=source.path, log_format=chosen, keys=keys)


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
