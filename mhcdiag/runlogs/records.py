"""Texts and JSON values to the numbers of a record."""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mhcdiag.runlogs.names import canonical_rank, plain, step_rank

NUMBER = (
    # What the C library of Windows printed for NaN and infinity reads as 1 otherwise: "1.#QNAN", "-1.#IND00".
    r"[-+]?(?:1\.\#(?:QNAN|SNAN|IND|INF)\w*|\d+(?:,\d{3})+(?:\.\d+)?|\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?"
    r"|(?i:nan|inf(?:inity)?)\b)"
)
"""Pattern of a number, without suffix or unit."""

_SCALES = {"K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9, "T": 1e12}
_WITH_UNIT = re.compile(rf"({NUMBER})\s*(?:([KMGBT])(?![\w])|[%a-zA-Zµ][\w/%²]*)?(?:\s*\([^()]*\))?$")


def parse_number(text: str) -> float | None:
    """Return the number a field of a log holds, or None if it holds none.

    A suffix K, M, G, B or T multiplies (`12.3K` in nanotron's logs); a unit (`35.1ms`, `2.49GiB(3.14%)`) is left out.
    """
    try:
        return float(text)
    except ValueError:
        pass
    match = _WITH_UNIT.match(text.strip().strip("'\""))
    if match is None:
        return None
    if "#" in match[1]:
        return math.inf if "INF" in match[1] else math.nan
    return float(match[1].replace(",", "")) * _SCALES.get(match[2], 1.0)


def parse_decimal_comma(text: str) -> float | None:
    """Return the number of a field that has a comma before its decimals and dots between thousands."""
    return parse_number(text.replace(".", "").replace(",", ".") if "," in text else text)


_DEEPEST = 3
"""Levels of objects inside objects whose names are joined."""

_PROGRESS = re.compile(r"\s*(\d{1,15})\s*/\s*\d{1,15}\s*")

MOST_LISTED = 16
"""Numbers of a list that are series each; longer lists are histograms and the like."""

loads_strictly: Callable[[bytes | str], Any]
"""The faster parser if it is installed; it need not know NaN."""
try:
    import orjson

    loads_strictly = orjson.loads
except ImportError:
    loads_strictly = json.loads


# What C, C++ and Rust print, and a script that writes its JSON by hand.
_BARE = re.compile(r"(?<=[:\[,\s])([-+]?)(nan|inf)(?:inity|\(ind\))?(?=\s*[,}\]])", re.IGNORECASE)


def with_json_nan(text: str) -> str:
    """Return a text that is no JSON because of a bare `nan` or `inf`, with the words that JSON parsers know."""
    return _BARE.sub(lambda match: "NaN" if match[2].lower() == "nan" else f"{match[1].replace('+', '')}Infinity", text)


def parse_json(raw: bytes | str) -> Any:
    """Return the value of a JSON text; NaN, Infinity, bare nan and inf, and raw control characters are read too.

    Raises
    ------
    ValueError
        The text is no JSON, or nested too deep.
    """
    try:
        return loads_strictly(raw)
    except ValueError:
        pass
    try:
        return json.loads(raw, strict=False)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    except ValueError:
        text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
        if (repaired := with_json_nan(text)) == text:
            raise
    return json.loads(repaired, strict=False)


def numbers_of(record: dict[str, Any]) -> dict[str, float]:
    """Return the numbers of a JSON object by name; objects inside join their names with `/`.

    `null` is a value that was not recorded; a text counts if it is a number ("25.2" and "nan" in fairseq's logs). A
    list of one number is that number, and of a few losses or norms each is a series (`grad_norm/0`): a NaN in brackets
    must not vanish.
    """
    return dict(_walk(record, "", 0))


def _walk(record: dict[str, Any], prefix: str, depth: int) -> Iterator[tuple[str, float]]:
    for key, value in record.items():
        if type(value) is float or type(value) is int:  # not isinstance, which takes True for an int
            yield prefix + key, as_float(value)
        elif isinstance(value, str):
            number = parse_number(value) if len(value) < 64 else None  # no number is longer
            if number is not None:
                yield prefix + key, number
            elif "/" in value:
                yield from ((prefix + name, count) for name, count in progress_of(key, value))
        elif isinstance(value, bool):
            yield prefix + key, float(value)
        elif isinstance(value, dict) and depth < _DEEPEST:
            yield from _walk(value, f"{prefix}{key}/", depth + 1)
        elif isinstance(value, list) and 0 < len(value) <= MOST_LISTED:
            yield from _listed(prefix + key, value)


def progress_of(key: str, value: str) -> Iterator[tuple[str, float]]:
    """Yield the step of a field like ms-swift's `"global_step/max_steps": "455/600"`, where it is one."""
    name = key.partition("/")[0]
    count = _PROGRESS.fullmatch(value)
    if count is not None and step_rank(name) is not None:
        yield name, float(count[1])


def _listed(name: str, values: list[Any]) -> Iterator[tuple[str, float]]:
    numbers = [as_float(value) for value in values if type(value) is float or type(value) is int]
    if len(numbers) != len(values):
        return
    if len(numbers) == 1:
        yield name, numbers[0]
    elif "loss" in name.lower() or "norm" in name.lower():
        yield from ((f"{name}/{at}", number) for at, number in enumerate(numbers))


def lost_loss(record: dict[str, Any], loss_key: str | None = None) -> bool:
    """Say whether a JSON object has a loss that is a text and no number: it is there, and cannot be read.

    Parameters
    ----------
    record
        The object.
    loss_key
        Name of the loss that the user gave.
    """
    return any(
        isinstance(value, str) and _is_loss(key, loss_key) and not numbers_of({key: value})
        for key, value in record.items()
    )


def _is_loss(key: str, loss_key: str | None) -> bool:
    if loss_key is not None:
        return key == loss_key
    rank = canonical_rank(key) if "loss" in key else None
    return rank is not None and rank[0] == "loss"


# Texts that differ in every record of a log as well: times, and what somebody wrote beside the numbers.
_NO_LABELS = frozenset({
    "time", "date", "datetime", "timestamp", "created", "elapsed", "eta", "duration", "msg", "message", "text",
})  # fmt: skip
_TIME = re.compile(r"\d[:/-]\d")


def label_of(record: Mapping[str, object]) -> str:
    """Return the texts of a record that say what it is of: the name of a model, of a run, of a data set.

    Where every record has another one and none has a step, they are the results of as many runs, and no curve.
    """
    return "\n".join(
        value
        for key, value in record.items()
        if isinstance(value, str)
        and 0 < len(value) < 200
        and not _NO_LABELS.intersection(plain(key).split("_"))
        and _TIME.search(value) is None
        and parse_number(value) is None
    )


def as_float(value: float) -> float:
    """Return a number of JSON as a float; an integer beyond its range is infinite."""
    try:
        return float(value)
    except OverflowError:  # an integer of more than 308 digits
        return math.inf
