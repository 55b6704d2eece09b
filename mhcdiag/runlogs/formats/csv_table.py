"""Tables with a header line: CSV, TSV, exports of charts, Keras' and Lightning's loggers."""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from mhcdiag.runlogs.interface import Keys, NanFamily, Record
from mhcdiag.runlogs.names import STEPS, canonical_rank, plain
from mhcdiag.runlogs.records import parse_decimal_comma, parse_number

_DELIMITERS = ("\t", ";", ",")
_NAME = re.compile(r"[^:={}<>]*[A-Za-z][^:={}<>]*$")
_DECIMAL_COMMA = re.compile(r"[-+]?\d+(?:\.\d{3})*,\d+(?:[eE][-+]?\d+)?$")
_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(?:,\d{3})+$")


@dataclass(frozen=True, kw_only=True, slots=True)
class CsvTable:
    """A header that names the columns, then numbers; empty cells were not recorded."""

    name: str = "csv"
    """Name on the command line and in reports."""
    title: str = "CSV or TSV with a header"
    """What the format is, in a few words."""
    preferred: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """No names are fixed: words decide."""
    nan_family: NanFamily = "plain"
    """NaN stand as they are."""

    def parser(self, keys: Keys) -> "CsvParser":
        """Return the state for one pass.

        Arguments: keys: what the user said about names.
        """
        return CsvParser(keys)


class CsvParser:
    """Finds the header, then reads one row a line; a header may come again."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._header: list[str] = []
        self._delimiter = ","
        self._losses: set[str] = set()

    def feed(self, line: int, text: str) -> Record | None:
        """Return the record of a line, or None.

        Arguments: line: 1-based; text: without prefix and line end.
        """
        if not self._header:
            self._find_header(text)
            return None
        cells = _cells(text, self._delimiter)
        if len(cells) != len(self._header):
            lost = len(cells) > 1 and len(self._losses) > 0
            return Record(line=line, values={}, garbled=lost)
        if not any(cell[:1] in "0123456789+-." for cell in cells if cell):
            return self._without_digits(line, text, cells)
        values: dict[str, float] = {}
        garbled = False
        for name, cell in zip(self._header, cells, strict=True):
            if not cell or cell in {"-", "NA", "None", "null"}:
                continue
            number = self._number(cell)
            if number is not None:
                values[name] = number
            garbled = garbled or (number is None and name in self._losses)
        return Record(line=line, values=values, garbled=garbled)

    def finish(self) -> Record | None:
        """Return None: no record is longer than its line."""
        return None

    def _find_header(self, text: str) -> None:
        for delimiter in _DELIMITERS:
            full = _cells(text, delimiter)
            short = [cell.rpartition(" - ")[2] for cell in full]
            cells = short if len(set(short)) == len(short) else full  # a chart of several runs needs their names
            if len(cells) > 1 and all(_NAME.match(cell) or not cell for cell in cells) and self._known(cells):
                self._header, self._delimiter = cells, delimiter
                self._losses = {cell for cell in cells if self._is_loss(cell)}
                return

    def _known(self, cells: list[str]) -> bool:
        given = {self._keys.loss, self._keys.step} & set(cells)
        ranked = [cell for cell in cells if plain(cell) in STEPS or plain(cell) == "epoch" or canonical_rank(cell)]
        return bool(given or ranked) and len(set(cells)) == len(cells)

    def _is_loss(self, name: str) -> bool:
        if self._keys.loss is not None:
            return name == self._keys.loss
        rank = canonical_rank(name)
        return rank is not None and rank[0] == "loss"

    def _without_digits(self, line: int, text: str, cells: list[str]) -> Record | None:
        words = {cell.lower() for cell in cells if cell}
        if words <= {"nan", "inf"} and words:
            found = zip(self._header, cells, strict=True)
            return Record(line=line, values={name: float(cell) for name, cell in found if cell})
        if cells != self._header:
            self._find_header(text)
        return None

    def _number(self, cell: str) -> float | None:
        comma = self._delimiter == ";" or (self._delimiter == "\t" and not _THOUSANDS.match(cell))
        return parse_decimal_comma(cell) if comma and _DECIMAL_COMMA.match(cell) else parse_number(cell)


def _cells(text: str, delimiter: str) -> list[str]:
    if '"' not in text:
        return [cell.strip() for cell in text.split(delimiter)]
    try:
        return [cell.strip() for cell in next(csv.reader([text], delimiter=delimiter))]
    except (csv.Error, StopIteration):
        return []


CSV = CsvTable()
