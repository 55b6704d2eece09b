"""Logs of scripts that nobody has a format for: names and numbers in any line, or the user's own pattern."""

import re

from mhcdiag.errors import SettingError
from mhcdiag.runlogs.grammar import LONGEST_TEXT, loose_fields
from mhcdiag.runlogs.interface import Keys, LineFormat, LogRecord
from mhcdiag.runlogs.names import canonical_rank, step_name
from mhcdiag.runlogs.records import parse_number

# The digits of a time (10:20) or of a date are no fraction: "120/1000 [00:10<01:20, loss=2.31]" is step 120 of 1000.
_FRACTION = re.compile(r"(?<![\d:/.])(\d+)\s*/\s*(\d+)(?![\d:/.])")
_LOSS_WITHOUT_VALUE = re.compile(r"(?<![A-Za-z])loss[\"']?\s*[:=]\s*(?=\S)", re.IGNORECASE)
_STAMPS = re.compile(r"\[?\d{4}-\d\d-\d\d[ T][\d:.,]+\]?|^\d\d/\d\d/\d{4} [\d:]+|\[[\d:]+<[\d:?]+")
# Logs of modded-nanogpt and parameter-golf open with up to 1,500 lines of Python, with "loss" everywhere.
_SOURCE_CODE = re.compile(
    r"\{[A-Za-z_][\w.\[\]]*(?::[^}]*)?\}"
    r"|^\s*(?:print|def|return|import|from|assert|raise|if|for|with|class|#)\b|\bself\."
)
_COUNT = re.compile(r"\[(\d+)\s*/\s*\d+\]")
# GaLore and SPAM print "loss at 2404 1.3125", and "Eval loss at step 20000: 3.38" between.
_LOSS_AT = re.compile(
    r"(?i)\b(?P<eval>(?:eval|val|test)\w* )?loss at (?:step |iteration )?(?P<step>\d+)"
    r"\s*[:\s]\s*(?P<loss>[^\s,]+)"
)


class GenericParser:
    """Takes the lines that name a loss (or a gradient norm); once a step was seen, those with a step only."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._stepped = False

    def feed(self, line: int, text: str) -> LogRecord | None:
        """Return the record of a line, or None."""
        if self._keys.loss is None and "loss" not in text.lower() and "norm" not in text:
            return None
        if _SOURCE_CODE.search(text) is not None:
            return None
        bare = _STAMPS.sub(" ", text[:LONGEST_TEXT])
        bare = _COUNT.sub(r"\1", bare)  # "Step [10/100]" is step 10
        at = _LOSS_AT.search(bare)
        if at is not None:  # "loss at 2404 1.3125": the first number is the step
            bare = f"step {at['step']} {'eval_' if at['eval'] else ''}loss {at['loss']}"
        values = dict(loose_fields(bare))
        step_key = self._keys.step or step_name(values)
        step = values.pop(step_key, None) if step_key else None
        total: float | None = None
        if step is None and self._keys.step is None:
            step, total = _progress(bare)
        if step is None and self._stepped:
            return None
        if not any(self._judged(name) for name in values):
            garbled = step is not None and _LOSS_WITHOUT_VALUE.search(bare) is not None
            return LogRecord(line=line, values={}, garbled=True) if garbled else None
        self._stepped = self._stepped or step is not None
        return LogRecord(line=line, step=step, values=values, total_steps=total)

    def finish(self) -> LogRecord | None:
        """Return None: no record is longer than its line."""
        return None

    def _judged(self, name: str) -> bool:
        if name == self._keys.loss:
            return True
        rank = canonical_rank(name.rpartition(" ")[2])  # "lm loss 2.5" is a loss, "loss was 2.5" is prose
        return rank is not None and rank[0] in {"loss", "eval_loss", "grad_norm"}


def _progress(text: str) -> tuple[float | None, float | None]:
    """Return the count and the total of a progress bar."""
    match = _FRACTION.search(text)
    if match is None or float(match[1]) > float(match[2]):
        return None, None
    return float(match[1]), float(match[2])


# Tried last, and taken only if it reads twice as much as every other format: it finds some number in nearly any text.
GENERIC = LineFormat(name="generic", title="names and numbers in lines of text", parser=GenericParser)


def _pattern_parser(keys: Keys) -> "PatternParser":
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

    def feed(self, line: int, text: str) -> LogRecord | None:
        """Return the record of a line, or None."""
        match = self._pattern.search(text)
        if match is None:
            return None
        numbers = {name: parse_number(value) for name, value in match.groupdict().items() if value is not None}
        values = {name: number for name, number in numbers.items() if number is not None}
        step = values.pop(self._step, None)
        return LogRecord(line=line, step=step, values=values, garbled=self._loss not in values)

    def finish(self) -> LogRecord | None:
        """Return None: no record is longer than its line."""
        return None


# Lines that the pattern of --regex matches anywhere; its named groups are series.
REGEX = LineFormat(name="regex", title="the pattern of --regex", parser=_pattern_parser, preferred={"loss": ("loss",)})
