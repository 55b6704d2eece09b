"""Messages of loss scalers and NaN checks between the records of a text log."""

import math
import re

from mhcdiag.runlogs.interface import ScalerEvent, ScalerKind

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
