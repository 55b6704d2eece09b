"""One pass over a text log: lines to records and messages, for whole files and growing ones."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from operator import eq

from mhcdiag.runlogs.interface import LineParser, LogRecord
from mhcdiag.runlogs.lines import Lines, clean_line
from mhcdiag.runlogs.log_table import ScalerEvent
from mhcdiag.runlogs.messages import MessageReader, may_hold_messages

HALF = "half-written"
"""Why a last line is ignored that was cut."""
HALF_WRITTEN = "the last line is half-written: left out"


@dataclass(frozen=True, slots=True)
class TextItem:
    """A record or a message of a text log, and who wrote it."""

    item: LogRecord | ScalerEvent
    """What was found."""
    rank: int | None
    """Rank of the writer, where the line has a prefix that names it."""
    is_copy: bool = False
    """Whether the line repeats the one before it: the record counts once."""


class TextPass:
    """Feeds the parser of a format with clean lines, and watches for messages between its records.

    Parameters
    ----------
    parser
        Of the format.
    belongs
        Says whether a line is one of the format's own: the line of a block that holds a NaN announces nothing.
    """

    def __init__(self, parser: LineParser, belongs: Callable[[str], bool] | None = None) -> None:
        self._belongs = belongs
        self.notes: list[str] = []
        """What the end of the log gave rise to."""
        self._parser = parser
        self._messages = MessageReader()
        self._step = math.nan
        self._names: frozenset[str] = frozenset()
        self._rank: int | None = None
        self._raw = b""
        self._record: LogRecord | None = None

    def feed(self, lines: Lines) -> Iterator[TextItem]:
        """Yield what some whole lines hold, in the order of the log."""
        talkative = may_hold_messages(b"\n".join(lines.texts))
        for number, raw in zip(lines.numbers, lines.texts, strict=True):
            if not raw:
                continue
            if raw == self._raw:  # two handlers of one logger, or a terminal that shows a line again
                if self._record is not None:
                    yield TextItem(self._record, self._rank, is_copy=True)
                continue
            clean = clean_line(raw)
            record = self._parser.feed(number, clean.text)
            # A record of several lines is not said again by its last one.
            self._raw, self._record = raw, record if record is not None and record.line == number else None
            if record is not None:
                yield self._keep(record, clean.rank)
            if talkative and _may_be_message(raw, record) and not (self._belongs and self._belongs(clean.text)):
                event = self._messages.read(number, clean.text, self._step)
                if event is not None:
                    yield TextItem(event, clean.rank)

    def repeats(self, lines: Lines) -> bool:
        """Say whether a line repeats the one before it, or holds a message."""
        texts = lines.texts
        return bool(texts) and (texts[0] == self._raw or any(map(eq, texts, islice(texts, 1, None))))

    def skip(self, lines: Lines) -> None:
        """Take note of lines that were read in one go."""
        if lines.texts:
            self._raw, self._record = lines.texts[-1], None

    def finish(self, lines: Lines) -> Iterator[TextItem]:
        """Yield what the last line holds, if it has no end but is whole, and the record that was still open.

        A number that was cut in the middle still reads as a number: a last line with fewer fields than the
        record before it is left out.

        Parameters
        ----------
        lines
            At most one line.
        """
        names = self._names
        half = bool(lines.texts) and _cut_object(lines.texts[-1])
        for found in self.feed(lines):
            item = found.item
            cut = isinstance(item, LogRecord) and (half or (names and not names <= item.values.keys()))
            # A NaN is never the first half of a number: what has one is kept.
            if isinstance(item, LogRecord) and cut and all(map(math.isfinite, item.values.values())):
                half = True
                yield TextItem(LogRecord(line=item.line, values={}, ignored=HALF), found.rank)
                continue
            yield found
        if half:
            self.notes.append(HALF_WRITTEN)
        last = self._parser.finish()
        if last is not None:
            yield self._keep(last, self._rank)

    def _keep(self, record: LogRecord, rank: int | None) -> TextItem:
        self._rank = rank
        if record.step is not None and math.isfinite(record.step):
            self._step = record.step
        if record.values:
            self._names = frozenset(record.values)
        return TextItem(record, rank)


def _may_be_message(raw: bytes, record: LogRecord | None) -> bool:
    """Say whether a line may say what happened: one without fields, or a JSON object, which may hold words."""
    fields = record.values if record is not None else {}
    if fields and not (raw.startswith(b"{") and all(map(math.isfinite, fields.values()))):
        return False
    return may_hold_messages(raw)


def _cut_object(raw: bytes) -> bool:
    """Say whether a line opens a JSON object and never closes it."""
    text = raw.strip()
    return text.startswith(b"{") and not text.endswith(b"}")
