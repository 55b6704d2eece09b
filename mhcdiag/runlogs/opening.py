"""The first lines of a text log: what its format is, where its step stands, what its series are called.

The same for a file that is read whole and for one that is followed: lines are collected until some format reads eight
records with a loss in them, at least 2,000 where there are as many, and everything is decided on these.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from mhcdiag.runlogs.builder import TableBuilder
from mhcdiag.runlogs.choice import Choice, choose
from mhcdiag.runlogs.detection import HEAD_LINES, OwnsLines, best_text_format, score
from mhcdiag.runlogs.formats import TEXT_FORMATS
from mhcdiag.runlogs.formats.any_text import GENERIC
from mhcdiag.runlogs.interface import Keys, LineFormat, LineParser, LogRecord, TextFormat
from mhcdiag.runlogs.lines import Lines, clean_line
from mhcdiag.runlogs.textpass import TextItem, TextPass

HEAD_BYTES = 1 << 21
"""Bytes of the first lines at which as well enough is seen: a line may hold a thousand series."""

SURE = 32
"""Score from which no more lines are waited for: eight records with a loss."""

MOST_HEADS = 4
"""How many times the first lines are extended while what reads them reads too little to be sure."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """What the first lines of a log decide."""

    format: TextFormat
    """The format."""
    choice: Choice
    """Step, names, writers."""
    parser: Callable[[Keys], LineParser]
    """Gives the state for one pass over the log."""

    def same_as(self, other: "Opened") -> bool:
        """Say whether both read a log alike."""
        return self.format is other.format and self.parser == other.parser and self.choice.same_as(other.choice)


class Opening:
    """Collects the first lines of a log.

    Parameters
    ----------
    keys
        Names that the user gave.
    log_format
        The format, where it is known; None: it is recognised.
    """

    def __init__(self, keys: Keys, log_format: TextFormat | None = None) -> None:
        self.numbers: list[int] = []
        """Numbers of the lines."""
        self.texts: list[bytes] = []
        """The lines as they stand in the log."""
        self.given = log_format is not None
        """Whether the format is known from elsewhere."""
        self._keys = keys
        self._format = log_format
        self._size = 0
        self._heads = 1

    def take(self, lines: Lines) -> Lines:
        """Take lines until there are enough; return those that are left."""
        taken = 0
        for number, text in zip(lines.numbers, lines.texts, strict=True):
            if self.full:
                break
            self.numbers.append(number)
            self.texts.append(text)
            self._size += len(text) + 1
            taken += 1
        return Lines(numbers=lines.numbers[taken:], texts=lines.texts[taken:])

    @property
    def full(self) -> bool:
        """Whether there are as many lines as are looked at."""
        return len(self.texts) >= self._heads * HEAD_LINES or self._size >= self._heads * HEAD_BYTES

    def look(self, *, final: bool) -> Opened | None:
        """Decide on the lines so far; None where they say too little.

        Parameters
        ----------
        final
            Whether this is all there is.
        """
        found, points = self._recognised()
        last = final or (self.full and self._heads >= MOST_HEADS)
        if points and (points >= SURE or last or self._format is not None):
            return self._opened(found)
        if self.full:
            if points:
                self._heads += 1
            else:
                self._forget()  # nothing there: look at the next lines
        return None

    def _recognised(self) -> tuple[TextFormat, int]:
        if self._format is not None:
            return self._format, score(self._format, [self._clean()], self._keys)
        choice = best_text_format(TEXT_FORMATS[:-1], GENERIC, [self._distinct()], self._keys)
        return (GENERIC, 0) if choice is None else (choice.format, choice.score)

    def _opened(self, log_format: TextFormat) -> Opened:
        parser: Callable[[Keys], LineParser] = log_format.parser
        if isinstance(log_format, LineFormat) and log_format.settled is not None:
            parser = log_format.settled(self._keys, self._clean())
        builder = TableBuilder()
        text = TextPass(parser(self._keys), lines_of(log_format))
        for found in text.feed(Lines(numbers=self.numbers, texts=self.texts)):
            add_item(builder, found)
        for found in text.finish(Lines(numbers=(), texts=[])):
            add_item(builder, found)
        choice = choose(builder, log_format=log_format, keys=self._keys)
        return Opened(format=log_format, choice=choice, parser=parser)

    def _distinct(self) -> list[bytes]:
        """Return the lines without those that repeat the one before (see `TextPass`)."""
        return [text for before, text in pairwise([b"", *self.texts]) if text != before]

    def _clean(self) -> list[str]:
        return [clean_line(raw).text for raw in self._distinct()]

    def _forget(self) -> None:
        self.numbers, self.texts, self._size, self._heads = [], [], 0, 1


def lines_of(log_format: TextFormat) -> Callable[[str], bool] | None:
    """Return what says which lines are the format's own, None where it does not know."""
    return log_format.belongs if isinstance(log_format, OwnsLines) else None


def add_item(builder: TableBuilder, found: TextItem) -> None:
    """Add to a table what a line holds."""
    if not isinstance(found.item, LogRecord):
        builder.add_message(found.item)
    elif found.is_copy:
        builder.add_copy()
    else:
        builder.add(found.item, rank=found.rank)
