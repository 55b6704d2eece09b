"""Text formats as data: a mark that opens a record, and the way its fields are written.

A mark is matched at the start of a line, never searched for: logs hold source code and command lines that name losses.
Below the grammars stand the ways in which fields are written: `key: value`, `key value`, JSON, pipes, commas.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from mhcdiag.runlogs.interface import Keys, LogRecord, NanFamily
from mhcdiag.runlogs.records import NUMBER, numbers_of, parse_json, parse_number

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


LONGEST_TEXT = 8192
"""Characters of a line that are searched for fields: the time of the patterns grows with the square of a line's
length."""

# A name may hold units and paths ("TFLOP/s/device", "consumed_samples(M)"). A value is not followed by a colon and a
# digit, which would make it the hour of a time.
_KEY = r"[A-Za-z_][\w./@()%\-]*"
_VALUE = rf"({NUMBER}(?:[KMGBT%](?![\w])|[a-zµ%][\w/%]*)?)(?![\w.]|:\d|-\d)"
_SPACED = re.compile(rf"(?<![\w./@()%\-])({_KEY})\s*[:=]\s*{_VALUE}")
_LOOSE = re.compile(rf"(?<![\w/.:])({_KEY}(?: {_KEY}){{0,2}}?)[\"']?(?:\s*[:=]\s*|\s+)[\"']?{_VALUE}")
_PIECE = re.compile(r"\s*([^:=]*?[^:=\s])(?:\s*[:=]\s*(?=\S)|\s+(?=[-+.\d]|(?i:nan|inf(?:inity)?)\b))(.*)$")
_QUOTED = re.compile(r"'([\w /.@-]+)':\s*('[^']*'|[^,'{}\[\]\s]+)")
# "tok/sec: 38,404" is one field: a comma between groups of three digits separates thousands.
_COMMA = re.compile(r",(?!\d{3}\b)\s*")


def piped_fields(text: str) -> Iterator[tuple[str, float]]:
    """Yield the fields of `lm loss: 7.07E-01 | grad norm: 0.7 |` (also `loss 7.07 | lr 3e-4`)."""
    yield from _pieces(text.split("|"))


def comma_fields(text: str) -> Iterator[tuple[str, float]]:
    """Yield the fields of `loss: 10.874, seconds: 1.3` (also `loss 4.24, time 35ms`)."""
    yield from _pieces(_COMMA.split(text))


def _pieces(pieces: list[str]) -> Iterator[tuple[str, float]]:
    for piece in pieces:
        key, colon, value = piece.partition(":")
        try:  # nearly all fields of the long lines are "name: number"; the pattern takes five times as long
            if colon and "=" not in key and key.strip():
                yield key.strip(), float(value)
                continue
        except ValueError:
            pass
        match = _PIECE.match(piece)
        number = parse_number(match[2].strip()) if match is not None else None
        if match is not None and number is not None:
            yield match[1], number


def json_fields(text: str) -> Iterator[tuple[str, float]]:
    """Yield the fields of a JSON object; texts that are numbers count."""
    try:
        found = parse_json(text)
    except ValueError:
        return
    if isinstance(found, dict):
        yield from numbers_of(found).items()


def quoted_fields(text: str) -> Iterator[tuple[str, float]]:
    """Yield the fields of a printed Python dictionary, `{'loss': 0.2, 'grad_norm': nan}`."""
    for match in _QUOTED.finditer(text, 0, LONGEST_TEXT):
        number = parse_number(match[2].strip("'\""))
        if number is not None:
            yield match[1], number


def spaced_fields(text: str) -> Iterator[tuple[str, float]]:
    """Yield the fields of `train_loss:4.17 train_time:16ms` and `step:  1  loss:  8.16`."""
    for match in _SPACED.finditer(text, 0, LONGEST_TEXT):
        number = parse_number(match[2])
        if number is not None:
            yield match[1], number


def loose_fields(text: str) -> Iterator[tuple[str, float]]:
    """Yield whatever looks like a name of one to three words and its number."""
    for match in _LOOSE.finditer(text, 0, LONGEST_TEXT):
        number = parse_number(match[2])
        if number is not None:
            yield match[1].strip("()"), number
