"""A log that still grows: bytes in, rows out, in bounded memory and whatever the split of the bytes."""

import math
from collections.abc import Iterable, Iterator

import numpy as np

from mhcdiag.errors import LogError
from mhcdiag.runlogs.choice import Evidence, Names, is_rival
from mhcdiag.runlogs.detection import HEAD_LINES, named_format
from mhcdiag.runlogs.formats import FORMATS, TEXT_FORMATS
from mhcdiag.runlogs.formats.any_text import REGEX
from mhcdiag.runlogs.interface import Keys, TextFormat
from mhcdiag.runlogs.lines import Lines, LineSplitter
from mhcdiag.runlogs.log_table import Entry, Restart, Row, ScalerEvent, Writers
from mhcdiag.runlogs.nanrules import NanRules
from mhcdiag.runlogs.opening import Opened, Opening, lines_of
from mhcdiag.runlogs.steps import StepCount
from mhcdiag.runlogs.textpass import TextItem, TextPass

# Lines after which the first lines are looked at again, about twice as many each time: looking at every line would cost
# as much as the square of their number.
_LOOKS = (12, 25, 50, 100, 200, 400, 800, 1600, HEAD_LINES)


class LineReader:
    """Reads a text log piece by piece.

    Rows are given as soon as the first lines show how to read them. More lines may show that it was otherwise, up to
    the first 2,000 or the end of a shorter log: then `Restart` is given, and all rows again, so that the rows after the
    last `Restart` are those of the log read whole.

    Parameters
    ----------
    path
        For messages.
    log_format, loss_key, step_key, regex
        As for `read_log`.

    Raises
    ------
    SettingError
        There is no such format, or the pattern is none.
    LogError
        The format cannot be read line by line.
    """

    def __init__(
        self,
        *,
        path: str = "-",
        log_format: str | None = None,
        loss_key: str | None = None,
        step_key: str | None = None,
        regex: str | None = None,
    ) -> None:
        self.path = path
        self._keys = Keys(loss=loss_key, step=step_key, regex=regex)
        self._splitter = LineSplitter()
        self._rows: RowMaker | None = None
        self._opened: Opened | None = None
        named = None
        if regex is not None or log_format is not None:
            named = _text_format(path, "regex" if regex is not None else str(log_format))
        self._opening: Opening | None = Opening(self._keys, named)
        self._looked = 0

    @property
    def format(self) -> str | None:
        """Name of the format; None while it is not known."""
        return self._opened.format.name if self._opened is not None else None

    @property
    def lines(self) -> int:
        """Lines that have ended so far."""
        return self._splitter.count

    @property
    def notes(self) -> list[str]:
        """What was dropped or assumed so far."""
        return [] if self._rows is None else self._rows.notes()

    @property
    def loss_lines(self) -> int:
        """Lines that carry the key of the loss."""
        return 0 if self._rows is None else self._rows.loss_lines

    @property
    def unreadable_lines(self) -> int:
        """Of these, lines that give neither a number nor a NaN."""
        return 0 if self._rows is None else self._rows.garbled

    @property
    def copied(self) -> int:
        """Of these, lines that repeat the line before them."""
        return 0 if self._rows is None else self._rows.copied

    @property
    def ignored(self) -> dict[str, int]:
        """Of these, lines that make no row, by reason."""
        return {} if self._rows is None else self._rows.ignored

    @property
    def source_names(self) -> dict[str, str]:
        """Canonical name -> name in the log, for the names met so far."""
        return {} if self._rows is None else self._rows.names.sources()

    @property
    def has_loss(self) -> bool:
        """Whether the first lines name a loss; in a log without one all records move the run."""
        return self._opened is None or "loss" in self._opened.choice.names.values()

    @property
    def writers(self) -> Writers:
        """How many records the log has of each step."""
        return Writers() if self._opened is None else self._opened.choice.writers

    @property
    def doubt(self) -> str:
        """What in the log speaks against what its first lines showed; empty: nothing."""
        return "" if self._rows is None else self._rows.evidence.doubt()

    def feed(self, data: bytes) -> list[Entry]:
        """Take the next bytes, cut anywhere; return the rows and messages that are complete now."""
        return self._take(self._splitter.feed(data))

    def close(self) -> list[Entry]:
        """Return what was still open at the end of the log.

        Raises
        ------
        LogError
            No format fits.
        """
        last = self._splitter.finish()
        entries: list[Entry] = []
        if self._opening is not None:
            self._opening.take(last)
            entries = self._look(final=True, without=len(last.texts))
        if self._rows is None:
            raise LogError(self.path, found="no training records", expected="lines that name a loss")
        entries.extend(self._rows.finish(last))
        return entries

    def _take(self, lines: Lines) -> list[Entry]:
        entries: list[Entry] = []
        while self._opening is not None and lines.texts:
            before = len(self._opening.texts)
            taken, lines = lines, self._opening.take(lines)
            if self._rows is not None:
                count = len(taken.texts) - len(lines.texts)
                entries.extend(self._rows.feed(Lines(numbers=taken.numbers[:count], texts=taken.texts[:count])))
            seen = len(self._opening.texts)
            looks = (1, 2, 4, 8, *_LOOKS) if self._opening.given else _LOOKS
            if self._opening.full or any(before < look <= seen for look in looks):
                entries.extend(self._look(final=False))
        if self._rows is not None and lines.texts:
            entries.extend(self._rows.feed(lines))
        return entries

    def _look(self, *, final: bool, without: int = 0) -> list[Entry]:
        """Look at the first lines, as many as there are; give their rows if they are to be read otherwise."""
        assert self._opening is not None
        opening, full = self._opening, self._opening.full
        opened = opening.look(final=final)
        if full and opened is not None:
            self._opening = None  # nothing that comes later changes how the log is read
        if opened is None:
            return []
        before, self._opened = self._opened, opened
        if self._rows is not None and before is not None and opened.same_as(before):
            self._rows.chosen(opened)
            return []
        # What was looked at is read now, as the first lines of the log; nothing is lost by the wait.
        entries: list[Entry] = [Restart()] if self._rows is not None else []
        self._rows = RowMaker(opened, self._keys)
        count = len(opening.texts) - without
        entries.extend(self._rows.feed(Lines(numbers=opening.numbers[:count], texts=opening.texts[:count])))
        return entries


def _text_format(path: str, name: str) -> TextFormat:
    if name == "regex":
        return REGEX
    chosen = named_format(name, FORMATS)
    for one in TEXT_FORMATS:
        if one.name == chosen.name:
            return one
    raise LogError(path, found=f"the format {name}, which is read as a whole", expected="a text format to follow")


class RowMaker:
    """Records to rows: names, steps and NaN are settled as they come, with nothing but a little state.

    Parameters
    ----------
    opened
        What the first lines decided.
    keys
        Names that the user gave.
    """

    def __init__(self, opened: Opened, keys: Keys) -> None:
        self.names = Names(opened.choice, keys, opened.format.preferred)
        """What the series are called here."""
        self.evidence = Evidence(opened.choice)
        """What speaks against the choice."""
        self.garbled = 0
        """Lines with the key of the loss and no value."""
        self.ignored: dict[str, int] = {}
        """Lines that carry a loss and make no row, by reason."""
        self.copied = 0
        """Lines with a loss that repeat the line before them."""
        self.losses = 0
        """Rows with a loss."""
        self._opened = opened
        self._text = TextPass(opened.parser(keys), lines_of(opened.format))
        self._rules = NanRules(opened.format.nan_family)
        self._count = StepCount()
        self._number = 0
        self._has_loss = False

    @property
    def loss_lines(self) -> int:
        """Lines with the key of the loss."""
        return self.losses + self.garbled + self.copied + sum(self.ignored.values())

    def notes(self) -> list[str]:
        """Return what was dropped or assumed so far."""
        return [*self._text.notes, *self._opened.choice.notes, *self._count.notes(), *self._rules.notes(self.losses)]

    def chosen(self, opened: Opened) -> None:
        """Take the same decision again, made on more lines."""
        self._opened = opened
        self.evidence.chosen(opened.choice)

    def feed(self, lines: Lines) -> Iterator[Entry]:
        """Yield the rows and messages of some whole lines, in the order of the log."""
        for found in self._text.feed(lines):
            yield from self._entry(found)

    def finish(self, lines: Lines) -> Iterator[Entry]:
        """Yield what was open at the end, with the last line if it has no end."""
        for found in self._text.finish(lines):
            yield from self._entry(found)

    def _entry(self, found: TextItem) -> Iterable[Entry]:
        record = found.item
        if isinstance(record, ScalerEvent):
            return [record]
        if found.is_copy:
            self.copied += self._has_loss
            return []
        self.garbled += record.garbled
        if record.ignored:
            self.ignored[record.ignored] = self.ignored.get(record.ignored, 0) + 1
        if not record.values:
            return []
        choice = self._opened.choice
        step, missing = self._step(record.step, record.values, record.total_steps)
        rank = found.rank if record.rank is None else record.rank
        values: dict[str, float] = {}
        for name, value in record.values.items():
            if name == choice.rank:
                rank = int(value) if math.isfinite(value) else rank
            elif name != choice.step:
                values[self.names.of(name)] = value
        judged = self._rules.judge(values)
        self._has_loss = "loss" in judged.values
        self.losses += self._has_loss
        rival = any(is_rival(name) for name in judged.values)
        self.evidence.feed(np.array([self._has_loss]), np.array([rival]), np.array([missing]))
        row = Row(
            line=record.line,
            step=step,
            values=judged.values,
            nan=judged.nan,
            rank=rank,
            total_steps=math.nan if record.total_steps is None else record.total_steps,
        )
        return [row]

    def _step(self, given: float | None, values: dict[str, float], total: float | None) -> tuple[float, bool]:
        """Return the step of the next record, and whether it has none of its own."""
        choice = self._opened.choice
        if choice.numbered:
            self._number += 1
            return self._number - 1.0, False
        raw = given if choice.step is None else values.get(choice.step)
        missing = raw is None or not math.isfinite(raw)
        epoch = math.nan if choice.epoch is None else values.get(choice.epoch, math.nan)
        return self._count.take(raw, epoch=epoch, total=math.nan if total is None else total), missing
