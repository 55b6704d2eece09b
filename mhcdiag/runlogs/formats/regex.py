"""A pattern of the user's own: named groups are series."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from mhcdiag.errors import SettingError
from mhcdiag.runlogs.interface import Keys, NanFamily, Record
from mhcdiag.runlogs.records import parse_number


@dataclass(frozen=True, kw_only=True, slots=True)
class UserPattern:
    """Lines that the pattern of `--regex` matches anywhere."""

    name: str = "regex"
    """Name on the command line and in reports."""
    title: str = "the pattern of --regex"
    """What the format is, in a few words."""
    preferred: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"loss": ("loss",)})
    """The group `loss` is the loss."""
    nan_family: NanFamily = "plain"
    """NaN stand as they are."""

    def parser(self, keys: Keys) -> "PatternParser":
        """Return the state for one pass.

        Arguments: keys: holds the pattern. Raises: SettingError when it is none, or lacks the group `loss`.
        """
        if keys.regex is None:
            raise SettingError("--log-format regex needs --regex with the named groups 'loss' and 'step'")
        try:
            pattern = re.compile(keys.regex)
        except re.error as error:
            raise SettingError(f"--regex {keys.regex!r}: {error}") from error
        if "loss" not in pattern.groupindex and keys.loss not in pattern.groupindex:
            raise SettingError(f"--regex {keys.regex!r}: no named group 'loss'; write (?P<loss>...)")
        return PatternParser(pattern, keys)


class PatternParser:
    """Reads the lines that match, and keeps nothing between them."""

    def __init__(self, pattern: re.Pattern[str], keys: Keys) -> None:
        self._pattern = pattern
        self._step = keys.step or "step"
        self._loss = keys.loss or "loss"

    def feed(self, line: int, text: str) -> Record | None:
        """Return the record of a line, or None.

        Arguments: line: 1-based; text: without prefix and line end.
        """
        match = self._pattern.search(text)
        if match is None:
            return None
        numbers = {name: parse_number(value) for name, value in match.groupdict().items() if value is not None}
        values = {name: number for name, number in numbers.items() if number is not None}
        step = values.pop(self._step, None)
        return Record(line=line, step=step, values=values, garbled=self._loss not in values)

    def finish(self) -> Record | None:
        """Return None: no record is longer than its line."""
        return None


REGEX = UserPattern()
