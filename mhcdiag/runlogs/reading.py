"""A whole log to its table."""

from collections.abc import Callable

from mhcdiag.errors import LogError
from mhcdiag.runlogs.builder import TableBuilder
from mhcdiag.runlogs.detection import DOCUMENTS, named_format, take_sample, unknown
from mhcdiag.runlogs.formats import FILE_FORMATS, FORMATS
from mhcdiag.runlogs.formats.any_text import GENERIC, REGEX
from mhcdiag.runlogs.interface import BlockLineParser, FileFormat, Keys, TextFormat
from mhcdiag.runlogs.lines import Lines, LineSplitter
from mhcdiag.runlogs.log_table import LogTable
from mhcdiag.runlogs.opening import Opened, Opening, add_item, lines_of
from mhcdiag.runlogs.sources import LogSource
from mhcdiag.runlogs.tables import finish_table
from mhcdiag.runlogs.textpass import TextPass


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
    table = TableBuilder(lambda name: name in (keys.loss, keys.step) or (keep is not None and keep(name)))
    chosen = _given_format(source, log_format, keys)
    if isinstance(chosen, FileFormat):
        chosen.read(source, table)
        table.notes[:0] = source.notes
        if not table.rows:
            raise unknown(source.path, source.first)
        return finish_table(table, path=source.path, log_format=chosen, keys=keys)
    opened = read_text(source, chosen, table, keys)
    table.notes[:0] = source.notes
    return finish_table(table, path=source.path, log_format=opened.format, keys=keys, choice=opened.choice)


def _given_format(source: LogSource, log_format: str | None, keys: Keys) -> TextFormat | FileFormat | None:
    """Return the format that the user names, or that of a file that only makes sense as a whole; None for text."""
    if keys.regex is not None:
        return REGEX
    if log_format is not None:
        return named_format(log_format, FORMATS)
    sample = take_sample(source)
    return next((one for one in FILE_FORMATS if one.fits(sample)), None)


class TextReader:
    """Reads lines into a table, many in one go where the format can.

    Parameters
    ----------
    opened
        What the first lines decided.
    table
        Takes the records.
    keys
        Names that the user gave.
    """

    def __init__(self, opened: Opened, table: TableBuilder, keys: Keys) -> None:
        parser = opened.parser(keys)
        self.text = TextPass(parser, lines_of(opened.format))
        """The pass over the lines."""
        self._by_block = parser if isinstance(parser, BlockLineParser) else None
        self._table = table

    def feed(self, lines: Lines) -> None:
        """Take some whole lines."""
        block = self._by_block if not self.text.repeats(lines) else None
        if block is not None and block.feed_block(lines.numbers, lines.texts, self._table):
            self.text.skip(lines)
            return
        for found in self.text.feed(lines):
            add_item(self._table, found)

    def finish(self, lines: Lines) -> None:
        """Take the last line, if it has no end."""
        for found in self.text.finish(lines):
            add_item(self._table, found)


def read_text(source: LogSource, log_format: TextFormat | None, table: TableBuilder, keys: Keys) -> Opened:
    """Read all lines of a text log into a table of records; return what the first lines decided.

    Raises
    ------
    LogError
        No format reads any of them.
    """
    opening, splitter = Opening(keys, log_format), LineSplitter()
    opened: Opened | None = None
    reader: TextReader | None = None
    for block in source.blocks():
        lines = splitter.feed(block)
        while reader is None and lines.texts:
            lines = opening.take(lines)
            opened = opening.look(final=False) if opening.full else None
            if opened is not None:
                reader = _started(source, opened, opening, table, keys)
        if reader is not None and lines.texts:
            reader.feed(lines)
    last = splitter.finish()
    if reader is None:
        opening.take(last)
        opened = opening.look(final=True)
        if opened is None:
            raise unknown(source.path, source.first)
        reader = _started(source, opened, opening, table, keys, without=len(last.texts))
    assert opened is not None
    reader.finish(last)
    table.lines = splitter.count
    table.notes.extend(reader.text.notes)
    if splitter.too_long:
        table.notes.append(f"{splitter.too_long:,} lines longer than a million characters: left out")
    if not table.rows:
        raise unknown(source.path, source.first)
    return opened


def _started(
    source: LogSource, opened: Opened, opening: Opening, table: TableBuilder, keys: Keys, *, without: int = 0
) -> TextReader:
    if opened.format is GENERIC and not opening.given and source.path.lower().endswith(DOCUMENTS):
        raise LogError(
            source.path,
            found="a document that names losses in no known log format",
            expected="a training log",
            hint="--log-format generic reads it all the same",
        )
    reader = TextReader(opened, table, keys)
    count = len(opening.texts) - without
    reader.feed(Lines(numbers=opening.numbers[:count], texts=opening.texts[:count]))
    return reader
