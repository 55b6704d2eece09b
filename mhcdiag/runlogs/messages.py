"""Lines without fields that say what happened: a NaN, a skipped step, a loss scaler at its minimum."""

import math
import re

from mhcdiag.runlogs.log_table import ScalerEvent, ScalerKind

# Parts of words of all messages below, as bytes: nearly no block of a log holds one, and the patterns are not tried.
_NEEDLES = (
    b"nan", b"NaN", b"NAN", b"Nan", b" inf", b" Inf", b"/inf", b"/Inf", b"inf ", b"Inf ", b"nfinit", b"NFINIT",
    b"finite", b"FINITE", b"nvalid", b"NVALID", b"verflow", b"VERFLOW", b"iverg", b"xplode", b"cale is",
    b"cale reached", b"cale has", b"cale already", b"cale too", b"not a number", b"xploding",
)  # fmt: skip

_SUBJECT = (
    r"(?:loss(?:es)?|cost|objective|perplexity|grad(?:ient)?s?(?:[ _]norms?)?|gnorm|norms?|logits?|activations?"
    r"|param(?:eter)?s?|weights?|outputs?|tensors?)"
)
_NAN = r"(?:nans?|infs?|infinite|infinity|non[- ]?finite|not finite|not a number)"
# What is wrong with a table of data is no trouble of the training.
_NO_DATA = r"(?!(?: values?)? (?:in|for|from) (?:the |your )?(?:columns?|data\w*|rows?|features?|labels?|csv|files?)\b)"
_FOUND = r"(?:found|detected|encountered|occur\w*|appear\w*|got|hit|produced|returned)"
# Who says it: scripts of the DINO and MAE kind ("Loss is nan, stopping training"), ESPnet ("The grad norm is nan."),
# detectron2 and mmcv ("Loss became infinite or NaN at iteration=7!"), Composer ("Train loss contains a NaN."),
# PaddleNLP ("Loss contains inf or nan values"), torch ("total norm of ... gradients ... is non-finite"), Lightning.
_IS = re.compile(
    rf"(?i)\b{_SUBJECT}\b[^.;|{{}}=:]{{0,60}}?\b(?:is|are|was|were|becomes?|became|went|contains?|has|have|turned)\s+"
    rf"(?:now |a |an |to |some |any |either |all )*[-+\"'(]?{_NAN}\b"
    r"|\b(?:loss(?:es)?|grad(?:ient)?s?)\b[^.;|{}=:]{0,60}?\b(?:is|are) (?:all )?invalid\b"
)
# TensorFlow and AllenNLP ("NaN loss during training", "nan loss encountered"), Keras and fastai ("Invalid loss,
# terminating training"), Megatron-LM ("found NaN in local grad norm"), tensorboardX ("NaN or Inf found in input
# tensor"), fairseq's NanDetector ("NaN detected in output of decoder").
_OF = re.compile(
    rf"(?i)\b{_NAN}(?:(?: or |/| and )?{_NAN})?(?: values?)?(?: {_FOUND})?(?: (?:in|for|of))?"
    rf"(?: (?:the|input|training|train|local|forward|backward|model|total|global))*\s+{_SUBJECT}\b"
    r"|\binvalid (?:loss|grad(?:ient)?s?)\b(?!\s+(?:function|name|type|fn|config|weight))"
)
_OTHER = re.compile(
    rf"(?i)\b{_FOUND}\s+(?:a |an |some |any )?{_NAN}\b{_NO_DATA}"
    rf"|\b{_NAN}(?: values?)? (?:was |were |has been )?{_FOUND}\b"
    r"|diverged with loss|\bloss is (?:diverging|exploding)|\btensor\(\[*\s*-?(?:nan|inf)\b"
    r"|\b(?:loss|training|model|run) (?:has |is )?(?:diverged|exploded)\b"  # TensorFlow, Tacotron
    r"|returned nan values in its|invalid value \(nan\)|found invalid values:"  # torch, JAX, torch.distributions
    r"|floatingpointerror.*\b(?:nan|loss)|rerun.*result is nan"  # fairseq, Megatron-LM's rerun state machine
    # Fields of a line that the format does not read: a second logger on the same console.
    r"|\b(?:\w*loss|grad[_ ]?norm|gnorm)[\"']?\s*(?:[:=]\s*|\s)[\"']?[-+]?(?:nan|inf)\b"
)
# minimum: fairseq and metaseq ("Minimum loss scale reached (0.0001)"), DeepSpeed ("Current loss scale already at
# minimum"), icefall ("Grad scale is small: 1e-05"). overflow: DeepSpeed ("OVERFLOW! Rank 0 Skipping step."), apex
# ("Gradient overflow."), fairseq.
_MINIMUM = re.compile(
    r"(?i)minimum loss scale reached|current loss scale already at minimum"
    r"|\b(?:loss|grad)[ _]?scale (?:is )?(?:too )?small\b"
    r"|\b(?:loss|grad)[ _]?scale (?:has |is )?(?:reached|at|below) (?:its |the )?min"
)
_OVERFLOW = re.compile(
    r"(?i)\boverflow! (?:rank|skipping)|gradient overflow|grad overflow|overflow detected|overflow\. skipping step"
)
_SKIPS = re.compile(r"(?i)\bgrad\w*\b.*\bskip|\bskip\w*\b.*\bgrad")
# "stop if the loss is NaN", "Check for NaN in loss: True", "no NaN found", "nan losses: 0" announce none.
_HYPOTHETICAL = re.compile(
    r"(?i)\b(?:if|when|whenever|unless|until|in case|avoid\w*|prevent\w*|check\w*|detect|catch|handle|ignore|watch\w*"
    r"|(?:terminate|stop|fail|abort)s? on|best|lowest|minimum|min|previous|prev|initial|improved from)\b[^.;:!]*$"
    r"|(?<![\w.])(?:no|not|never|without|zero|0)\s+(?:\w+\s+){0,2}$"
)
_SETTING = re.compile(r"(?i)^\w*[\"']?\s*(?:[:=]|\.{3,})\s*[\"']?(?:0(?:\.0*)?|true|false|none|yes|no|on|off)\b")

_NUMBER = r"([-+]?\d+\.?\d*(?:e[-+]?\d+)?)"
_SCALE = re.compile(
    rf"(?i)(?:reducing (?:loss scale )?to|setting loss scale to:?|loss scale (?:to|is now)|scale is small:)\s*{_NUMBER}"
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


def kind_of(text: str) -> ScalerKind | None:
    """Return what a line reports, or None."""
    text = text.replace("`", "")
    if _MINIMUM.search(text):
        return "minimum"
    if _OVERFLOW.search(text):
        return "overflow"
    if not _announces_nan(text):
        return None
    return "skipped" if _SKIPS.search(text) else "nan"


def _announces_nan(text: str) -> bool:
    for pattern in (_IS, _OF, _OTHER):
        for match in pattern.finditer(text):
            before, after = text[: match.start()][-80:], text[match.end() :][:40]
            if not _HYPOTHETICAL.search(before) and not _SETTING.match(after):
                return True
    return False


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
        text = text[:LONGEST_MESSAGE]
        kind = kind_of(text)
        if kind is None or _SOURCE_CODE.search(text):
            return None
        event = _event(line, text, step, kind)
        key = (kind, -1.0 if math.isnan(event.step) else event.step, _STAMP.sub("", event.text))
        if key == self._last:
            return None
        self._last = key
        return event

    def unreadable(self, line: int, text: str, step: float) -> ScalerEvent:
        """Return the event of a line with a loss that cannot be read and holds a NaN."""
        return _event(line, text[:LONGEST_MESSAGE], step, "nan")


def _event(line: int, text: str, step: float, kind: ScalerKind) -> ScalerEvent:
    scale, named = _SCALE.search(text), _STEP.search(text)
    return ScalerEvent(
        line=line,
        step=float(named[1]) if named else step,
        kind=kind,
        loss_scale=float(scale[1]) if scale else math.nan,
        text=text.strip()[:200],
    )


LONGEST_MESSAGE = 2000
"""Characters of a line that are searched; nobody says in more that a loss is NaN."""
