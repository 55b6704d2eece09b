"""A log that still grows: bytes in, rows out, in constant memory and whatever the split of the bytes."""

import math
from collections.abc import Iterable, Iterator

from mhcdiag.errors import LogError
from mhcdiag.runlogs.detection import HEAD_LINES, best_text_format, named_format
from mhcdiag.runlogs.formats import FORMATS, TEXT_FORMATS
from mhcdiag.runlogs.formats.any_text import GENERIC, REGEX
from mhcdiag.runlogs.interface import Entry, Keys, LogRecord, Row, ScalerEvent, TextFormat
from mhcdiag.runlogs.lines import Lines, LineSplitter
from mhcdiag.runlogs.names import bind_names, other_name, step_name
from mhcdiag.runlogs.nanrules import NanRules
from mhcdiag.runlogs.textpass import TextItem, TextPass

# Lines after which the format is looked for again, about twice as many each time: looking at every line would cost as
# much as the square of their number.
_LOOKS = (12, 25, 50, 100, 200, 400, 800, 1600, HEAD_LINES)

_SURE = 32
"""Score from which no more lines are waited for: eight records with a loss."""


class LineReader:
    """Reads a text log piece by piece.

    The format is recognised on the first 2,000 lines at most, earlier if it is clear. A log that has
    evaluation losses only gives rows with `eval_loss` and none with `loss`: whether a training loss will
    follow cannot be known.

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
        self.notes: list[str] = []
        """What was dropped or assumed so far."""
        self.loss_lines = 0
        """Lines that carry the key of the loss."""
        self.unreadable_lines = 0
        """Of these, lines that give neither a number nor a NaN."""
        self.source_names: dict[str, str] = {}
        """Canonical name -> name in the log, for the names met so far."""
        self._keys = Keys(loss=loss_key, step=step_key, regex=regex)
        self._splitter = LineSplitter()
        self._waiting: list[tuple[int, bytes]] = []
        self._rows: RowMaker | None = None
        self._format: TextFormat | None = None
        if regex is not None or log_format is not None:
            self._start(_text_format(path, "regex" if regex is not None else str(log_format)))

    @property
    def format(self) -> str | None:
        """Name of the format; None while it is not known."""
        return self._format.name if self._format is not None else None

    @property
    def lines(self) -> int:
        """Lines that have ended so far."""
        return self._splitter.count

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
        if self._rows is None:
            self._waiting.extend(zip(last.numbers, last.texts, strict=True))
            last = Lines(numbers=(), texts=[])
            entries = self._look(len(self._waiting), final=True)
        if self._rows is None:
            raise LogError(self.path, found="no training records", expected="lines that name a loss")
        entries.extend(self._counted(self._rows.finish(last)))
        self.notes.extend(self._rows.text.notes)
        return entries

    def _start(self, log_format: TextFormat) -> None:
        self._format = log_format
        self._rows = RowMaker(log_format, self._keys)

    def _take(self, lines: Lines) -> list[Entry]:
        if self._rows is not None:
            return self._counted(self._rows.feed(lines))
        entries: list[Entry] = []
        for number, text in zip(lines.numbers, lines.texts, strict=True):
            if self._rows is not None:
                entries.extend(self._counted(self._rows.feed(Lines(numbers=(number,), texts=[text]))))
                continue
            self._waiting.append((number, text))
            if len(self._waiting) in _LOOKS:
                entries.extend(self._look(len(self._waiting), final=False))
        return entries

    def _look(self, seen: int, *, final: bool) -> list[Entry]:
        texts = [text for _, text in self._waiting]
        choice = best_text_format(TEXT_FORMATS[:-1], GENERIC, [texts], self._keys)
        full = final or seen >= _LOOKS[-1]
        # Before the head is full, one record that some format happens to read decides nothing.
        if choice is None or (not full and choice.score < _SURE):
            if full:
                self._waiting.clear()  # nothing there: look at the next lines, as a whole file is sampled
            return []
        self._start(choice.format)
        # What was looked at is read now, as the first lines of the log; nothing is lost by the wait.
        waiting, self._waiting = self._waiting, []
        return self._take(Lines(numbers=[number for number, _ in waiting], texts=texts))

    def _counted(self, entries: Iterable[Entry]) -> list[Entry]:
        found = list(entries)
        assert self._rows is not None
        self.source_names = self._rows.names
        self.loss_lines, self.unreadable_lines = self._rows.loss_lines, self._rows.garbled
        return found


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
    log_format
        Of the log.
    keys
        Names that the user gave.
    """

    def __init__(self, log_format: TextFormat, keys: Keys) -> None:
        self.text = TextPass(log_format.parser(keys))
        """The pass over the lines."""
        self.names: dict[str, str] = {}
        """Canonical name -> name in the log."""
        self.garbled = 0
        """Lines with the key of the loss and no value."""
        self.loss_lines = 0
        """Lines with the key of the loss."""
        self._format = log_format
        self._keys = keys
        self._rules = NanRules(log_format.nan_family)
        self._ours: dict[str, str] = {}
        self._steps = _StepKeeper(keys)

    def feed(self, lines: Lines) -> Iterator[Entry]:
        """Yield the rows and messages of some whole lines, in the order of the log."""
        for found in self.text.feed(lines):
            yield from self._entry(found)

    def finish(self, lines: Lines) -> Iterator[Entry]:
        """Yield what was open at the end, with the last line if it has no end."""
        for found in self.text.finish(lines):
            yield from self._entry(found)

    def _entry(self, found: TextItem) -> Iterator[Entry]:
        if isinstance(found.item, ScalerEvent):
            yield found.item
            return
        record = found.item
        self.garbled += record.garbled
        self.loss_lines += record.garbled
        if not record.values:
            return
        step = self._steps.take(record)
        values = {self._name(name, record): value for name, value in record.values.items()}
        values.pop("", None)
        judged = self._rules.judge(values)
        self.loss_lines += "loss" in judged.values
        yield Row(
            line=record.line,
            step=step,
            values=judged.values,
            nan=judged.nan,
            rank=found.rank,
            total_steps=math.nan if record.total_steps is None else record.total_steps,
        )

    def _name(self, name: str, record: LogRecord) -> str:
        if name == self._steps.name:
            return ""
        # The whole log would tell which of two losses comes more often (`bind_names`); here the first that comes has
        # the name, and a second candidate keeps its own.
        if name not in self._ours:
            counts = {one: 1 for one in record.values if one != self._steps.name}
            chosen = bind_names(counts, preferred=self._format.preferred, loss_key=self._keys.loss)
            for canonical, source in chosen.items():
                if source not in self._ours:
                    taken = canonical in self.names or (canonical == "loss" and self._foreign(source))
                    self._ours[source] = other_name(source) if taken else canonical
                    self.names.setdefault(canonical, source) if not taken else None
            self._ours.setdefault(name, other_name(name))
        return self._ours[name]

    def _foreign(self, source: str) -> bool:
        # Records without the loss that the user named must not give another one in its place.
        return self._keys.loss is not None and source != self._keys.loss


class _StepKeeper:
    """The step of each row while the log grows, by the rules of `steps`."""

    def __init__(self, keys: Keys) -> None:
        self.name = keys.step
        self._rows = 0
        self._last = -1.0
        self._increase = 1.0
        self._epoch = math.nan
        self._offset = 0.0
        self._raw = math.nan

    def take(self, record: LogRecord) -> float:
        """Return the step of the next record."""
        if record.step is None and self.name is None:
            self.name = step_name(record.values)
        raw = record.step
        if self.name is not None and self.name in record.values:
            raw = record.values[self.name]
        if raw is None or not math.isfinite(raw):
            # As `steps.fill_steps` does it for a whole log.
            step = self._last + max(self._increase, 1.0) if self._rows else 0.0
        else:
            step = raw + self._offset_of(record, raw)
        self._increase = step - self._last if self._rows else 1.0
        self._last, self._rows = step, self._rows + 1
        return step

    def _offset_of(self, record: LogRecord, raw: float) -> float:
        epoch = next((value for name, value in record.values.items() if name.lower() in {"epoch", "ep"}), None)
        # A run that dies may log a NaN for every number, its epoch among them.
        if epoch is not None and math.isfinite(epoch) and epoch == math.floor(epoch):
            if epoch > self._epoch and raw < self._raw:
                self._offset += self._raw + (raw == 0)
            self._epoch, self._raw = epoch, raw
        return self._offset
