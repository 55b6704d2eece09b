"""Text formats as data: a mark that opens a record, and the way its fields are written.

A mark is matched at the start of a line, never searched for: logs hold source code and command lines that name losses.
Below the grammars stand the ways in which fields are written: `key: value`, `key value`, JSON, pipes, commas.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from mhcdiag.runlogs.interface import Keys, LogRecord, NanFamily
from mhcdiag.runlogs.records import NUMBER, numbers_of, parse_json, parse_number, progress_of

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
    needle: str = ""
    """Text that every such line holds: looking for it costs far less than a mark that may begin anywhere."""


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
    asides: re.Pattern[str] | None = None
    """Lines that stand between the records and name losses that are none of the run (darknet's regions)."""

    def parser(self, keys: Keys) -> "GrammarParser":
        """Return the state for one pass."""
        return GrammarParser(self, keys)

    def belongs(self, text: str) -> bool:
        """Say whether a line is one of the format's own that carries no record."""
        return self.asides is not None and self.asides.match(text) is not None


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
            match = rule.mark.match(text) if rule.needle in text else None
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
    eval_head: re.Pattern[str] | None = None
    """Heading of an evaluation, tried after `head`: its series get the prefix `eval_`, and the step before it."""
    needle: str = ""
    """Text that every line of a record holds (see `LineRule`)."""
    other_split: str = ""
    """Prefix of the second number of a line, that of the other split (group `other` of `series`)."""

    def parser(self, keys: Keys) -> "BlockParser":
        """Return the state for one pass."""
        return BlockParser(self, keys)

    def belongs(self, text: str) -> bool:
        """Say whether a line is part of a record: each has several, and gives one record only."""
        heads = (self.head, self.eval_head, self.series)
        return any(pattern is not None and pattern.match(text) is not None for pattern in heads)


class BlockParser:
    """Collects the lines of a record until the next heading, or until a series comes twice."""

    def __init__(self, grammar: BlockGrammar, keys: Keys) -> None:
        self._grammar = grammar
        self._step = keys.step
        self._open: LogRecord | None = None
        self._last: float | None = None
        self._prefix = ""

    def feed(self, line: int, text: str) -> LogRecord | None:
        """Take the next line; return the record that it ends."""
        if self._grammar.needle not in text:
            return None
        head = self._grammar.head.match(text)
        if head is not None:
            step, total = parse_number(head["step"]), parse_number(head["total"] or "")
            self._last, self._prefix = None if self._step else step, ""
            return self._start(LogRecord(line=line, step=self._last, total_steps=total, values={}))
        if self._grammar.eval_head is not None and self._grammar.eval_head.match(text) is not None:
            self._prefix = "eval_"
            return self._start(LogRecord(line=line, step=self._last, values={}))
        return self._series(line, text)

    def _series(self, line: int, text: str) -> LogRecord | None:
        series = self._grammar.series.match(text)
        number = parse_number(series["value"]) if series is not None else None
        if series is None or number is None:
            lost = self._grammar.garbled.match(text) is not None
            return LogRecord(line=line, values={}, garbled=True) if lost else None
        done, name = None, self._prefix + series["name"].strip()
        # A series that comes again without a heading between opens a record of its own.
        if self._open is None or name in self._open.values:
            done = self._start(LogRecord(line=line, values={}))
        assert self._open is not None
        self._open.values[name] = number
        other = parse_number(series["other"] or "") if self._grammar.other_split else None
        if other is not None:
            self._open.values[self._grammar.other_split + name] = other
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
_VALUE = rf"({NUMBER}(?:[KMGBT%](?![\w])|[a-zµ%][\w/%]*)?)(?![\w]|\.\d|:\d|-\d)"
_SPACED = re.compile(rf"(?<![\w./@()%\-])({_KEY})\s*[:=]\s*{_VALUE}")
# "loss is 3.1" (MindSpore and its readers) names a loss like "loss 3.1"; "loss was 3.1" is prose.
_LOOSE = re.compile(rf"(?<![\w/.:])({_KEY}(?: {_KEY}){{0,2}}?)[\"']?(?:\s*[:=]\s*|\s+(?:is\s+)?)[\"']?{_VALUE}")
_PIECE = re.compile(r"\s*([^:=]*?[^:=\s])(?:\s*[:=]\s*(?=\S)|\s+(?=[-+.\d]|(?i:nan|inf(?:inity)?)\b))(.*)$")
_QUOTED = re.compile(r"['\"]([\w /.@()-]+)['\"]:\s*('[^']*'|\"[^\"]*\"|[^,'\"{}\[\]\s]+)")
# Numbers as libraries print them: `[0.73]`, `[2.046/2.046]`, `tensor(0.73, device='cuda:0')`, `np.float64(nan)`.
_WRAPPED = re.compile(
    r"([:=]\s*)(?:(?:[A-Za-z_]\w*\.)*(?:[Tt]ensor|[Aa]rray|Parameter|b?float\d*|Scalar|DeviceArray)\(\[{0,2}|\[{1,2})"
    rf"\s*({NUMBER})(?![\w.])[^()\[\]]*[\])]{{1,3}}"
)
_WRAPS = ("[", "r(", "y(", "t(", "2(", "4(", "6(")
# "tok/sec: 38,404" is one field: a comma between groups of three digits separates thousands.
_COMMA = re.compile(r",(?!\d{3}\b)\s*")


def unwrapped(text: str) -> str:
    """Return a text with numbers in place of what wraps them: `loss: tensor(0.7, device='cuda:0')` is `loss: 0.7`.

    A gradient norm in brackets was ignored in silence, NaN and all (`grad_norm: [nan]`). Of several numbers in brackets
    the first is taken (`lr=[8.9e-06, 8.9e-06]`).
    """
    if not any(sign in text for sign in _WRAPS):  # nearly all lines have none of them
        return text
    return _WRAPPED.sub(r"\1\2", text)


def piped_fields(text: str) -> Iterator[tuple[str, float]]:
    """Yield the fields of `lm loss: 7.07E-01 | grad norm: 0.7 |` (also `loss 7.07 | lr 3e-4`)."""
    yield from _pieces(unwrapped(text).split("|"))


def comma_fields(text: str) -> Iterator[tuple[str, float]]:
    """Yield the fields of `loss: 10.874, seconds: 1.3` (also `loss 4.24, time 35ms`)."""
    yield from _pieces(_COMMA.split(unwrapped(text)))


def semicolon_fields(text: str) -> Iterator[tuple[str, float]]:
    """Yield the fields of `acc: 51.25; ppl: 8.43; xent: 2.13` (also `Loss = 8.1 ; Learning rate = 0.1`)."""
    yield from _pieces(text.split(";"))


def dashed_fields(text: str) -> Iterator[tuple[str, float]]:
    """Yield the fields of `loss 2.5 - time (sec): 2.1 - lr: 0.1`."""
    yield from _pieces(text.split(" - "))


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
    for match in _QUOTED.finditer(unwrapped(text[:LONGEST_TEXT])):
        value = match[2].strip("'\"")
        number = parse_number(value)
        if number is not None:
            yield match[1], number
        elif "/" in value:
            yield from progress_of(match[1], value)


def spaced_fields(text: str) -> Iterator[tuple[str, float]]:
    """Yield the fields of `train_loss:4.17 train_time:16ms` and `step:  1  loss:  8.16`."""
    for match in _SPACED.finditer(unwrapped(text[:LONGEST_TEXT])):
        number = parse_number(match[2])
        if number is not None:
            yield match[1], number


def loose_fields(text: str) -> Iterator[tuple[str, float]]:
    """Yield whatever looks like a name of one to three words and its number."""
    for match in _LOOSE.finditer(unwrapped(text[:LONGEST_TEXT])):
        number = parse_number(match[2])
        if number is not None:
            yield match[1].strip("()"), number
