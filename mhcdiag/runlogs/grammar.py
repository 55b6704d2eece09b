"""Text formats as data: a mark that opens a record, and the way its fields are written.

A mark is matched at the start of a line, never searched for: logs hold source code and command lines that name losses.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from mhcdiag.runlogs.interface import Keys, LogRecord, NanFamily
from mhcdiag.runlogs.records import parse_number

Fields = Callable[[str], Iterable[tuple[str, float]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class LineRule:
    """One kind of line."""

    mark: re.Pattern[str]
    """Matched at the start of a line; the groups `step` and `total` count, other groups are series."""
    fields: Fields | None = None
    """Reads the rest of the line, from the end of the mark."""
    prefix: str = ""
    """Put before the names, so that an evaluation's "loss" is not the training loss."""
    garbled: re.Pattern[str] | None = None
    """A line of this kind that holds this, but no loss, has lost its loss to damage."""
    same_step: bool = False
    """The line belongs to the step of the record before it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Grammar:
    """A text format whose records are single lines."""

    name: str
    """Name on the command line and in reports."""
    title: str
    """What the format is, in a few words."""
    rules: tuple[LineRule, ...]
    """Kinds of lines, tried in this order."""
    preferred: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Canonical name -> names in the log, best first."""
    nan_family: NanFamily = "plain"
    """How this format hides or invents NaN."""
    step_fields: tuple[str, ...] = ()
    """Fields that hold the step where the mark does not, best first."""

    def parser(self, keys: Keys) -> "GrammarParser":
        """Return the state for one pass."""
        return GrammarParser(self, keys)


class GrammarParser:
    """Reads lines by the rules of a grammar; all it keeps is the last step."""

    def __init__(self, grammar: Grammar, keys: Keys) -> None:
        self._grammar = grammar
        self._losses = grammar.preferred.get("loss", ()) if keys.loss is None else (keys.loss,)
        self._key = keys.step
        self._steps = (keys.step,) if keys.step is not None else grammar.step_fields
        self._last = 0.0

    def feed(self, line: int, text: str) -> LogRecord | None:
        """Return the record of a line, or None."""
        for rule in self._grammar.rules:
            match = rule.mark.match(text)
            if match is not None:
                return self._record(line, text, rule, match)
        return None

    def finish(self) -> LogRecord | None:
        """Return None: no record is longer than its line."""
        return None

    def _record(self, line: int, text: str, rule: LineRule, match: re.Match[str]) -> LogRecord:
        groups = {name: parse_number(value) for name, value in match.groupdict().items() if value is not None}
        step, total = groups.pop("step", None), groups.pop("total", None)
        # A line without the step that the user named has none: the one of the format counts something else.
        step = step if self._key is None else None
        values = {name: value for name, value in groups.items() if value is not None}
        if rule.fields is not None:
            values.update(rule.fields(text[match.end() :]))
        for name in self._steps:
            if name in values:
                step = values.pop(name)
                break
        step = self._last if rule.same_step else step
        # A run that dies may log NaN for every number; lines of the same step belong to the last known one.
        self._last = step if step is not None and math.isfinite(step) else self._last
        if rule.prefix:
            values = {rule.prefix + name: value for name, value in values.items()}
        garbled = (
            rule.garbled is not None
            and not any(name in values for name in self._losses)
            and rule.garbled.search(text) is not None
        )
        return LogRecord(line=line, step=step, values=values, total_steps=total, garbled=garbled)


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockGrammar:
    """A text format of headings and series."""

    name: str
    """Name on the command line and in reports."""
    title: str
    """What the format is, in a few words."""
    head: re.Pattern[str]
    """Heading of a record, with the groups `step` and `total`."""
    series: re.Pattern[str]
    """A line of a record, with the groups `name` and `value`."""
    garbled: re.Pattern[str]
    """A line of a record whose name is the loss, whatever stands behind it."""
    preferred: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Canonical name -> names in the log, best first."""
    nan_family: NanFamily = "plain"
    """How this format hides or invents NaN."""

    def parser(self, keys: Keys) -> "BlockParser":
        """Return the state for one pass."""
        return BlockParser(self, keys)


class BlockParser:
    """Collects the lines of a record until the next heading, or until a series comes twice."""

    def __init__(self, grammar: BlockGrammar, keys: Keys) -> None:
        self._grammar = grammar
        self._step = keys.step
        self._open: LogRecord | None = None

    def feed(self, line: int, text: str) -> LogRecord | None:
        """Take the next line; return the record that it ends."""
        head = self._grammar.head.match(text)
        if head is not None:
            step, total = parse_number(head["step"]), parse_number(head["total"] or "")
            return self._start(LogRecord(line=line, step=None if self._step else step, total_steps=total, values={}))
        series = self._grammar.series.match(text)
        number = parse_number(series["value"]) if series is not None else None
        if series is None or number is None:
            lost = self._grammar.garbled.match(text) is not None
            return LogRecord(line=line, values={}, garbled=True) if lost else None
        done = None
        # A series that comes again without a heading between opens a record of its own.
        if self._open is None or series["name"] in self._open.values:
            done = self._start(LogRecord(line=line, values={}))
        assert self._open is not None
        self._open.values[series["name"]] = number
        return done

    def finish(self) -> LogRecord | None:
        """Return the record that was still open at the end."""
        return self._start(None)

    def _start(self, record: LogRecord | None) -> LogRecord | None:
        done, self._open = self._open, record
        return done if done is not None and done.values else None
