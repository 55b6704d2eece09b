"""Results as JSON documents: the keys that scripts and baselines rely on.

Each module writes the document of one record and reads it back; what is read equals what was written, but for what no
document holds (matrices and curves for drawing). Reports are made of these documents, and a baseline is read from a
report once, into records: whatever judges sees records only. The schemas of whole reports stand beside it, as they are
shipped.

Reading is strict: a key that is missing or a value of the wrong kind raises KeyError, TypeError or ValueError, for a
document that somebody edited must be refused as a whole and not in the middle of a check. Keys that came after the
first release of a format version have a default, so that every document ever written can be read.
"""

import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from mhcdiag.results.numbers import Number, parse_number

Json = dict[str, Any]

COMMANDS = ("gain", "spikes", "health", "weights", "trend", "check")
"""Commands whose JSON reports have a schema."""


def schema(command: str) -> Json:
    """Return the JSON Schema (draft 2020-12) of a command's report.

    Parameters
    ----------
    command
        One of `COMMANDS`.
    """
    found: Json = json.loads((files(__package__) / "schema" / f"{command}.schema.json").read_text("utf-8"))
    return found


def read_table(value: object) -> Json:
    """Return a JSON object as it is; TypeError for anything else."""
    if not isinstance(value, dict):
        raise TypeError(f"{_shown(value)} where a table was expected")
    return value


def read_list(value: object) -> Sequence[Any]:
    """Return a JSON array as it is; TypeError for anything else, a string among them."""
    if not isinstance(value, list):
        raise TypeError(f"{_shown(value)} where a list was expected")
    return value


def read_text(value: object) -> str:
    """Return a string as it is; TypeError for anything else."""
    if not isinstance(value, str):
        raise TypeError(f"{_shown(value)} where a text was expected")
    return value


def read_texts(value: object) -> tuple[str, ...]:
    """Return a list of strings."""
    return tuple(read_text(one) for one in read_list(value))


def read_count(value: object) -> int:
    """Return a whole number; TypeError for anything else."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{_shown(value)} where a whole number was expected")
    return value


def read_flag(value: object) -> bool:
    """Return true or false; TypeError for anything else."""
    if not isinstance(value, bool):
        raise TypeError(f"{_shown(value)} where true or false was expected")
    return value


def read_number(value: object) -> Number:
    """Return what `number` wrote; TypeError for null and for what is no number."""
    found = parse_number(value)
    if found is None:
        raise TypeError(f"{_shown(value)} where a number was expected")
    return found


def read_float(value: object) -> float:
    """Return what `number` wrote of a float; TypeError for anything else, a number beyond float64 among them."""
    found = read_number(value)
    if not isinstance(found, float):
        raise TypeError(f"{_shown(value)} where a float64 was expected")
    return found


def read_step(value: object) -> float:
    """Return what `step` wrote; null is NaN. Infinity does not come back: a log's document has null for it too."""
    return float("nan") if value is None else read_float(value)


def _shown(value: object) -> str:
    shown = json.dumps(value)
    return shown if len(shown) < 60 else f"{shown[:57]}..."
