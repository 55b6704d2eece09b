"""Dictionaries printed over several lines, by Python's pprint or as indented JSON, between other lines of a log."""

import ast
import re
from typing import Any

from mhcdiag.runlogs.grammar import quoted_fields, unwrapped
from mhcdiag.runlogs.interface import Keys, LineFormat, LogRecord
from mhcdiag.runlogs.names import canonical_rank, step_name
from mhcdiag.runlogs.records import numbers_of, parse_json

MOST_LINES = 2000
"""Lines of a dictionary; one that does not end by then is something else."""

_OPENING = re.compile(r"\{\s*(?:$|['\"][^'\"]+['\"]\s*:)")
_PART = re.compile(r"(?:.*\{)?\s*['\"][\w /.@()-]+['\"]:\s.*[,}{]\s*$")
_STEP = re.compile(r"(?i)\b(?:global[ _]?step|step|iter(?:ation)?)s?\s*[:=#]?\s*\[?\s*(\d+)\b")
_NOT_FINITE = re.compile(r"(?<=[:\s\[(,])(-?(?:nan|inf|NaN|Infinity))(?=[\s,\])}]|$)")
_STRINGS = re.compile(r"'[^']*'|\"[^\"]*\"")


class DictParser:
    """Collects the lines of a dictionary until its braces are closed."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._step: float | None = None
        self._first = 0
        self._parts: list[str] = []
        self._depth = 0

    def feed(self, line: int, text: str) -> LogRecord | None:
        """Take the next line; return the record that it ends."""
        if self._parts:
            self._parts.append(text)
        else:
            opening = _OPENING.search(text)
            before = text[: opening.start()] if opening is not None else text
            step = _STEP.search(before)
            self._step = float(step[1]) if step is not None else self._step
            if opening is None:
                return None
            if _braces(text[opening.start() :]) <= 0:
                return None  # on one line: other formats read these, and know what they are
            self._first = line
            self._parts.append(text[opening.start() :])
        self._depth += _braces(self._parts[-1])
        if self._depth > 0 and len(self._parts) < MOST_LINES:
            return None
        return self._close()

    def finish(self) -> LogRecord | None:
        """Return None: a dictionary that does not end was cut."""
        return None

    def _close(self) -> LogRecord | None:
        parts, self._parts, self._depth = self._parts, [], 0
        text = "\n".join(parts)
        values = numbers_of_dict(text)
        name = self._keys.step or step_name(values)
        step = values.pop(name, None) if name is not None else None
        if step is None and self._keys.step is None:
            step = self._step
        if not values:
            return LogRecord(line=self._first, values={}, garbled=True) if "loss" in text.lower() else None
        lost = not any(_is_loss(name, self._keys.loss) for name in values) and _names_lost_loss(text)
        return LogRecord(line=self._first, step=step, values=values, garbled=lost)


def _braces(text: str) -> int:
    bare = _STRINGS.sub("", text)
    return bare.count("{") - bare.count("}")


def _is_loss(name: str, loss_key: str | None) -> bool:
    if loss_key is not None:
        return name == loss_key
    rank = canonical_rank(name)
    return rank is not None and rank[0] == "loss"


def _names_lost_loss(text: str) -> bool:
    """Say whether the dictionary has a loss whose value is no number."""
    return re.search(r"['\"](?:[\w/]*[/_])?loss['\"]\s*:\s*(?!None|null|\{)\S", text) is not None


def numbers_of_dict(text: str) -> dict[str, float]:
    """Return the numbers of a printed dictionary by name; objects inside join their names with `/`.

    Parameters
    ----------
    text
        From its opening brace to its closing one, and whatever stands behind that; JSON or Python.
    """
    bare = text[: text.rfind("}") + 1]
    found: Any = None
    try:
        found = parse_json(bare)
    except ValueError:
        try:
            # Neither NaN nor inf is a literal of Python: as texts they are numbers for `numbers_of`.
            found = ast.literal_eval(_NOT_FINITE.sub(r"'\1'", unwrapped(bare)))
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return dict(quoted_fields(bare))
    return numbers_of({str(key): value for key, value in found.items()}) if isinstance(found, dict) else {}


def _of_a_dict(text: str) -> bool:
    return _PART.match(text) is not None


# tensorflow/models (object_detection/model_lib_v2.py, the controller of Orbit), and scripts that pprint their metrics.
# The step may stand inside, before the brace, or on the line above:
# I0606 15:08:00.123456 140 model_lib_v2.py:705] Step 100 per-step time 18.226s
# I0606 15:08:00.123456 140 model_lib_v2.py:708] {'Loss/RPNLoss/localization_loss': 0.2956,
#  'Loss/total_loss': 6.946368,
#  'learning_rate': 0.0003}
PRINTED_DICT = LineFormat(
    name="printed_dict",
    title="dictionaries over several lines: TensorFlow's object detection, pprint",
    parser=DictParser,
    preferred={"loss": ("Loss/total_loss",)},
    belongs=_of_a_dict,
)
