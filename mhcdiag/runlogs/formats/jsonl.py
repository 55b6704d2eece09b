"""One JSON object per line: the loggers of most scripts, W&B history exports, metrics.jsonl."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from mhcdiag.runlogs.builder import TableBuilder
from mhcdiag.runlogs.interface import Keys, NanFamily, Record
from mhcdiag.runlogs.records import loads_strictly, lost_loss, numbers_of, parse_json


@dataclass(frozen=True, kw_only=True, slots=True)
class JsonLines:
    """Flat or shallow JSON objects, one per line."""

    name: str = "jsonl"
    """Name on the command line and in reports."""
    title: str = "JSON lines"
    """What the format is, in a few words."""
    preferred: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Canonical name -> names in the log, best first."""
    nan_family: NanFamily = "plain"
    """How this format hides or invents NaN."""

    def parser(self, keys: Keys) -> JsonLineParser:
        """Return the state for one pass.

        Arguments: keys: what the user said about names.
        """
        return JsonLineParser(keys)


class JsonLineParser:
    """Reads one object a line, and many lines at once where nothing is unusual in them."""

    def __init__(self, keys: Keys) -> None:
        self._loss = keys.loss

    def feed(self, line: int, text: str) -> Record | None:
        """Return the record of a line, or None.

        Arguments: line: 1-based; text: without prefix and line end.
        """
        if not text.startswith("{"):
            return None
        try:
            found = parse_json(text)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            return Record(line=line, values={}, garbled=self._names_loss(text))
        return Record(line=line, values=numbers_of(found), garbled=lost_loss(found, self._loss))

    def finish(self) -> Record | None:
        """Return None: no record is longer than its line."""
        return None

    def feed_block(self, numbers: Sequence[int], texts: list[bytes], table: TableBuilder) -> bool:
        """Read many lines in one go, if all are objects with the same keys and finite values.

        Arguments: numbers: 1-based, of each line; texts: the lines; table: takes the records. Returns:
        whether it could; if not, nothing was taken.
        """
        columns = _columns(texts)
        if columns is None:
            return False
        table.add_block(numbers, columns)
        return True

    def _names_loss(self, text: str) -> bool:
        return (f'"{self._loss}"' if self._loss else 'loss"') in text


def _columns(texts: list[bytes]) -> dict[str, array[float]] | None:
    try:
        records: list[Any] = loads_strictly(b"[" + b",".join(texts) + b"]")
        keys = tuple(records[0])
        same = len(records) == len(texts) and set(map(tuple, records)) == {keys}
    except (ValueError, TypeError, IndexError, RecursionError):
        return None
    return _float_columns(keys, records) if same and isinstance(records[0], dict) else None


def _float_columns(keys: tuple[str, ...], records: list[dict[str, Any]]) -> dict[str, array[float]] | None:
    columns: dict[str, array[float]] = {}
    for key, values in zip(keys, zip(*map(dict.values, records), strict=True), strict=True):
        kinds = set(map(type, values))
        if kinds <= {float, int}:
            try:
                columns[key] = array("d", values)
            except OverflowError:  # an integer of more than 308 digits
                return None
        elif kinds == {str}:
            if any(numbers_of({key: value}) for value in values):
                return None
        elif kinds not in ({list}, {type(None)}):
            return None
    return columns if all(isfinite(sum(column)) for column in columns.values()) else None


JSONL = JsonLines()
