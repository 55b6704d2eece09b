"""Text formats whose records take several lines: a heading with the step, then one series a line."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from mhcdiag.runlogs.interface import Keys, NanFamily, Record
from mhcdiag.runlogs.numbers import parse_number


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
        """Return the state for one pass.

        Arguments: keys: what the user said about names.
        """
        return BlockParser(self, keys)


class BlockParser:
    """Collects the lines of a record until the next heading, or until a series comes twice."""

    def __init__(self, grammar: BlockGrammar, keys: Keys) -> None:
        self._grammar = grammar
        self._step = keys.step
        self._open: Record | None = None

    def feed(self, line: int, text: str) -> Record | None:
        """Take the next line; return the record that it ends.

        Arguments: line: 1-based; text: without prefix and line end.
        """
        head = self._grammar.head.match(text)
        if head is not None:
            step, total = parse_number(head["step"]), parse_number(head["total"] or "")
            return self._start(Record(line=line, step=None if self._step else step, total_steps=total, values={}))
        series = self._grammar.series.match(text)
        number = parse_number(series["value"]) if series is not None else None
        if series is None or number is None:
            lost = self._grammar.garbled.match(text) is not None
            return Record(line=line, values={}, garbled=True) if lost else None
        done = None
        if self._open is None or series["name"] in self._open.values:
            done = self._start(Record(line=line, values={}))
        assert self._open is not None
        self._open.values[series["name"]] = number
        return done

    def finish(self) -> Record | None:
        """Return the record that was still open at the end."""
        return self._start(None)

    def _start(self, record: Record | None) -> Record | None:
        done, self._open = self._open, record
        return done if done is not None and done.values else None
