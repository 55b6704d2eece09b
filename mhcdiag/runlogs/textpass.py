"""One pass over a text log: lines to records and messages, for whole files and growing ones.

Messages are lines without fields that say what happened: a NaN, a skipped step, a loss scaler at its minimum.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from mhcdiag.runlogs.interface import LineParser, LogRecord, ScalerEvent, ScalerKind
from mhcdiag.runlogs.lines import Lines, clean_line

# Words of all messages below, as bytes: nearly no block of a log holds one, and the patterns are never tried.
_NEEDLES = (
    b"verflow", b"VERFLOW", b"inimum loss scale", b"at minimum", b"FloatingPointError", b"is nan", b"is NaN",
    b"NaN loss", b"nan loss", b"ound NaN", b"ound nan", b"NaN detected",
)  # fmt: skip
_NUMBER = r"([-+]?\d+\.?\d*(?:e[-+]?\d+)?)"
# Whose messages these are. minimum: fairseq and metaseq ("Minimum loss scale reached (0.0001)"), DeepSpeed ("Current
# loss scale already at minimum"). nan: scripts of the DINO and MAE kind ("Loss is nan, stopping training"), fairseq's
# FloatingPointError, Megatron-LM ("found NaN in local forward loss calculation", and its rerun state machine).
# overflow: DeepSpeed ("OVERFLOW! Rank 0 Skipping step."), apex ("Gradient overflow."), fairseq.
_KINDS: tuple[tuple[ScalerKind, re.Pattern[str]], ...] = (
    ("minimum", re.compile(r"(?i)minimum loss scale reached|current loss scale already at minimum")),
    (
        "nan",
        re.compile(
            r"(?i)loss is nan|floatingpointerror.*\b(?:nan|loss)"
            r"|found nan in local (?:forward loss|grad norm)"
            r"|\bnan (?:loss|detected in loss)|rerun.*result is nan"
        ),
    ),
    (
        "overflow",
        re.compile(
            r"(?i)\boverflow! (?:rank|skipping)|gradient overflow|grad overflow|overflow detected"
            r"|overflow\. skipping step"
        ),
    ),
)
_SCALE = re.compile(
    rf"(?i)(?:reducing (?:loss scale )?to|setting loss scale to:?|loss scale (?:to|is now))\s*{_NUMBER}"
)
_STEP = re.compile(r"(?i)\b(?:iteration|step|update)[ :=]+(\d+)\b")
# DeepSpeed prints each overflow once per rank, eight times a node: without time and rank the copies are equal.
_STAMP = re.compile(r"\[[^\]]*\]|\d\d:\d\d:\S+|(?i:rank) ?\d+")
# A traceback, or a log that opens with its source, quotes the line that would raise the message.
_SOURCE_CODE = re.compile(
    r"""^\s*(?:raise|if|assert|print|logger|log|warnings|#|def|msg|f?["'])\b"""
    r"""|raise \w+\(|\bprint\(|\.format\("""
)


def may_hold_messages(block: bytes) -> bool:
    """Say whether a closer look at one line or many is worth it: a test for a few substrings costs next to nothing."""
    return any(needle in block for needle in _NEEDLES)


class MessageReader:
    """Finds the messages of one log; the same message of several ranks counts once."""

    def __init__(self) -> None:
        self._last: tuple[ScalerKind, float, str] | None = None

    def read(self, line: int, text: str, step: float) -> ScalerEvent | None:
        """Return the event a line reports, or None.

        Parameters
        ----------
        line
            1-based number.
        text
            The line.
        step
            Last step logged before it, NaN if none.
        """
        kind = next((kind for kind, pattern in _KINDS if pattern.search(text)), None)
        if kind is None or _SOURCE_CODE.search(text):
            return None
        scale = _SCALE.search(text)
        named = _STEP.search(text)
        event = ScalerEvent(
            line=line,
            step=float(named[1]) if named else step,
            kind=kind,
            loss_scale=float(scale[1]) if scale else math.nan,
            text=text.strip()[:200],
        )
        key = (kind, -1.0 if math.isnan(event.step) else event.step, _STAMP.sub("", event.text))
        if key == self._last:
            return None
        self._last = key
        return event


HALF_WRITTEN = "the last line is half-written: left out"


@dataclass(frozen=True, slots=True)
class TextItem:
    """A record or a message of a text log, and who wrote it."""

    item: LogRecord | ScalerEvent
    """What was found."""
    rank: int | None
    """Rank of the writer, where the line has a prefix that names it."""


class TextPass:
    """Feeds the parser of a format with clean lines, and watches for messages between its records."""

    def __init__(self, parser: LineParser) -> None:
        self.notes: list[str] = []
        """What the end of the log gave rise to."""
        self._parser = parser
        self._messages = MessageReader()
        self._step = math.nan
        self._names: frozenset[str] = frozenset()
        self._rank: int | None = None

    def feed(self, lines: Lines) -> Iterator[TextItem]:
        """Yield what some whole lines hold, in the order of the log."""
        talkative = may_hold_messages(b"\n".join(lines.texts))
        for number, raw in zip(lines.numbers, lines.texts, strict=True):
            if not raw:
                continue
            clean = clean_line(raw)
            record = self._parser.feed(number, clean.text)
            if record is not None:
                yield self._keep(record, clean.rank)
            elif talkative and may_hold_messages(raw):
                event = self._messages.read(number, clean.text, self._step)
                if event is not None:
                    yield TextItem(event, clean.rank)

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
            if isinstance(found.item, LogRecord) and (half or (names and not names <= found.item.values.keys())):
                half = True
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


def _cut_object(raw: bytes) -> bool:
    """Say whether a line opens a JSON object and never closes it."""
    text = raw.strip()
    return text.startswith(b"{") and not text.endswith(b"}")
