"""Logs that are one JSON document."""

import json
import re
from collections.abc import Iterator
from typing import Any

from mhcdiag.errors import LogError
from mhcdiag.runlogs.interface import LogSample
from mhcdiag.runlogs.names import canonical_rank, step_name
from mhcdiag.runlogs.records import parse_json, with_json_nan
from mhcdiag.runlogs.sources import LogSource

_OPENING = re.compile(rb"\{\s*[\"}]|\[\s*[\[{\]]")

LARGEST_DOCUMENT = 1 << 30
"""Bytes of a document that are read; it has to be in memory as a whole."""


def opens_document(sample: LogSample) -> bool:
    """Say whether a file begins with a JSON object or list that does not end on its first line.

    JSON lines begin with an object as well: the first lines of a document are no records by themselves. A document may
    stand on one line, as json.dump writes it; then it is one unless it has a step or a loss.
    """
    head = sample.head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if _OPENING.match(head) is None:
        return False
    first, newline, rest = head.partition(b"\n")
    if not newline or not rest.strip():
        return not _is_record(first, known=True)
    return not any(_is_record(line) for line in [first, *rest.split(b"\n")[:4]])


def _is_record(line: bytes, *, known: bool = False) -> bool:
    """Say whether a line is a whole JSON object with values (`known`: a step or a loss among them)."""
    try:
        found = parse_json(line)
    except ValueError:
        return False
    if not isinstance(found, dict):
        return False
    names = [name for name, value in found.items() if isinstance(value, int | float | str)]
    # A trainer_state.json on one line has a global_step beside its list: what holds records is no record.
    if known and any(_holds_records(value) for value in found.values()):
        return False
    return bool(names) and (not known or step_name(names) is not None or any(map(canonical_rank, names)))


def _holds_records(value: Any) -> bool:
    first = value[0] if isinstance(value, list) and value else None
    if not isinstance(first, dict):
        return False
    ranks = [rank[0] for name in first if (rank := canonical_rank(name)) is not None]
    return step_name(first) is not None or "loss" in ranks or "eval_loss" in ranks


def read_document(source: LogSource) -> bytes:
    """Return all bytes of a document.

    Raises
    ------
    LogError
        It is too large.
    """
    parts: list[bytes] = []
    size = 0
    for block in source.blocks():
        parts.append(block)
        size += len(block)
        if size > LARGEST_DOCUMENT:
            raise LogError(source.path, found="a JSON document of more than 1 GiB", expected="one record per line")
    return b"".join(parts).removeprefix(b"\xef\xbb\xbf")


def load_document(source: LogSource, data: bytes) -> Any:
    """Return the value of a document.

    Raises
    ------
    LogError
        It is no JSON.
    """
    try:
        return parse_json(data)
    except ValueError as error:
        reason = str(error).partition(":")[0]
        raise LogError(source.path, found=f"broken JSON ({reason})", expected="a whole JSON document") from error


def objects_of_list(data: bytes, opening: str) -> Iterator[dict[str, Any]]:
    """Yield the whole objects of a list inside a document that is cut short.

    Parameters
    ----------
    data
        The document.
    opening
        The key before the list, with quotes; empty for a document that is a list.
    """
    text = data.decode("utf-8", "replace")
    position = text.find(opening)
    position = text.find("[", position) + 1 if position >= 0 else 0
    if position:
        yield from (one for one, _ in _objects(text, position))


def objects_in_a_row(data: bytes) -> tuple[list[dict[str, Any]], int]:
    """Return the objects of a file that holds one behind the other, and how many pieces between them name a loss.

    A broken one ends where the next begins at the start of a line.
    """
    text = with_json_nan(data.decode("utf-8", "replace"))
    found: list[dict[str, Any]] = []
    position = lost = 0
    while True:
        for one, end in _objects(text, position):
            found.append(one)
            position = end
        after = text.find("\n{", position + 1)
        lost += "loss" in text[position : after if after >= 0 else None]
        if after < 0:
            return found, lost
        position = after


def _objects(text: str, position: int) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield whole objects and where each ends, until something else comes."""
    decoder = json.JSONDecoder(strict=False)
    while True:
        start = text.find("{", position)
        if start < 0 or text[position:start].strip(" \t\r\n,"):
            return
        try:
            found, position = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            return
        yield found, position
