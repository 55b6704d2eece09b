"""Names and numbers inside one line of text, for the few ways in which logs set them side by side.

Each function takes the line behind the mark of its kind (see `grammar`) and yields names and numbers in order.
"""

import re
from collections.abc import Iterator

from mhcdiag.runlogs.records import NUMBER, numbers_of, parse_json, parse_number

LONGEST_TEXT = 8192
"""Characters of a line that are searched for fields: the time of the patterns grows with the square of a line's
length."""

# A name may hold units and paths ("TFLOP/s/device", "consumed_samples(M)"). A value is not followed by a colon and a
# digit, which would make it the hour of a time.
_KEY = r"[A-Za-z_][\w./@()%\-]*"
_VALUE = rf"({NUMBER}(?:[KMGBT%](?![\w])|[a-zµ%][\w/%]*)?)(?![\w.]|:\d|-\d)"
_SPACED = re.compile(rf"(?<![\w./@()%\-])({_KEY})\s*[:=]\s*{_VALUE}")
_LOOSE = re.compile(rf"(?<![\w/.:])({_KEY}(?: {_KEY}){{0,2}}?)[\"']?(?:\s*[:=]\s*|\s+)[\"']?{_VALUE}")
_PIECE = re.compile(r"\s*([^:=]*?[^:=\s])(?:\s*[:=]\s*(?=\S)|\s+(?=[-+.\d]|nan\b|inf\b))(.*)$")
_QUOTED = re.compile(r"'([\w /.@-]+)':\s*('[^']*'|[^,'{}\[\]\s]+)")
# "tok/sec: 38,404" is one field: a comma between groups of three digits separates thousands.
_COMMA = re.compile(r",(?!\d{3}\b)\s*")


def piped_fields(text: str) -> Iterator[tuple[str, float]]:
    """Yield the fields of `lm loss: 7.07E-01 | grad norm: 0.7 |` (also `loss 7.07 | lr 3e-4`)."""
    yield from _pieces(text.split("|"))


def comma_fields(text: str) -> Iterator[tuple[str, float]]:
    """Yield the fields of `loss: 10.874, seconds: 1.3` (also `loss 4.24, time 35ms`)."""
    yield from _pieces(_COMMA.split(text))


def _pieces(pieces: list[str]) -> Iterator[tuple[str, float]]:
    for piece in pieces:
        key, colon, value = piece.partition(":")
        try:  # nearly all fields of the long lines are "name: number"; the pattern takes five times as long
            if colon and "=" not in key and key.strip():
                yield key.strip(), float(value)
                continue
        except ValueError:
            pass
        match = _PIECE.match(piece)
        number = parse_number(match[2].strip()) if match is not None else None
        if match is not None and number is not None:
            yield match[1], number


def json_fields(text: str) -> Iterator[tuple[str, float]]:
    """Yield the fields of a JSON object; texts that are numbers count."""
    try:
        found = parse_json(text)
    except ValueError:
        return
    if isinstance(found, dict):
        yield from numbers_of(found).items()


def quoted_fields(text: str) -> Iterator[tuple[str, float]]:
    """Yield the fields of a printed Python dictionary, `{'loss': 0.2, 'grad_norm': nan}`."""
    for match in _QUOTED.finditer(text, 0, LONGEST_TEXT):
        number = parse_number(match[2].strip("'\""))
        if number is not None:
            yield match[1], number


def spaced_fields(text: str) -> Iterator[tuple[str, float]]:
    """Yield the fields of `train_loss:4.17 train_time:16ms` and `step:  1  loss:  8.16`."""
    for match in _SPACED.finditer(text, 0, LONGEST_TEXT):
        number = parse_number(match[2])
        if number is not None:
            yield match[1], number


def loose_fields(text: str) -> Iterator[tuple[str, float]]:
    """Yield whatever looks like a name of one to three words and its number."""
    for match in _LOOSE.finditer(text, 0, LONGEST_TEXT):
        number = parse_number(match[2])
        if number is not None:
            yield match[1].strip("()"), number
