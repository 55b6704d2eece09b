"""Names and numbers in any line, for the logs of scripts that nobody has a format for."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from mhcdiag.runlogs.fields import LONGEST_TEXT, loose_fields
from mhcdiag.runlogs.interface import Keys, NanFamily, Record
from mhcdiag.runlogs.names import canonical_rank, step_name

_FRACTION = re.compile(r"(?<![\d:/.])(\d+)\s*/\s*(\d+)(?![\d:/.])")
_LOSS_WITHOUT_VALUE = re.compile(r"(?<![A-Za-z])loss[\"']?\s*[:=]\s*(?=\S)", re.IGNORECASE)
_STAMPS = re.compile(r"\[?\d{4}-\d\d-\d\d[ T][\d:.,]+\]?|^\d\d/\d\d/\d{4} [\d:]+|\[[\d:]+<[\d:?]+")
_SOURCE_CODE = re.compile(
    r"\{[A-Za-z_][\w.\[\]]*(?::[^}]*)?\}"
    r"|^\s*(?:print|def|return|import|from|assert|raise|if|for|with|class|#)\b|\bself\."
)
_COUNT = re.compile(r"\[(\d+)\s*/\s*\d+\]")
_LOSS_AT = re.compile(
    r"(?i)\b(?P<eval>(?:eval|val|test)\w* )?loss at (?:step |iteration )?(?P<step>\d+)"
    r"\s*[:\s]\s*(?P<loss>[^\s,]+)"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Generic:
    """Any text whose lines carry a loss by name."""

    name: str = "generic"
    """Name on the command line and in reports."""
    title: str = "names and numbers in lines of text"
    """What the format is, in a few words."""
    preferred: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """No names are fixed: words decide."""
    nan_family: NanFamily = "plain"
    """NaN stand as they are."""

    def parser(self, keys: Keys) -> "GenericParser":
        """Return the state for one pass.

        Arguments: keys: what the user said about names.
        """
        return GenericParser(keys)


class GenericParser:
    """Takes the lines that name a loss (or a gradient norm); once a step was seen, those with a step only."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._stepped = False

    def feed(self, line: int, text: str) -> Record | None:
        """Return the record of a line, or None.

        Arguments: line: 1-based; text: without prefix and line end.
        """
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
            return Record(line=line, values={}, garbled=True) if garbled else None
        self._stepped = self._stepped or step is not None
        return Record(line=line, step=step, values=values, total_steps=total)

    def finish(self) -> Record | None:
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


GENERIC = Generic()
