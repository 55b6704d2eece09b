"""Tables with a header line: CSV, TSV, exports of charts, Keras' and Lightning's loggers."""

import csv
import re

from mhcdiag.runlogs.interface import Keys, LineFormat, LogRecord
from mhcdiag.runlogs.names import STEPS, canonical_rank, plain
from mhcdiag.runlogs.records import label_of, parse_decimal_comma, parse_number

# Tried in this order: a table in tabs or semicolons may have decimal commas in its cells.
_DELIMITERS = ("\t", ";", ",")
# Prose and the lines of other formats have commas, too; names of columns hold letters and none of these signs.
_NAME = re.compile(r"[^:={}<>]*[A-Za-z][^:={}<>]*$")
_DECIMAL_COMMA = re.compile(r"[-+]?\d+(?:\.\d{3})*,\d+(?:[eE][-+]?\d+)?$")
_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(?:,\d{3})+$")


class CsvParser:
    """Finds the header, then reads one row a line; a header may come again."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._header: list[str] = []
        self._delimiter = ","
        self._losses: set[str] = set()

    def feed(self, line: int, text: str) -> LogRecord | None:
        """Return the record of a line, or None."""
        if not self._header:
            self._find_header(text)
            return None
        cells = _cells(text, self._delimiter)
        if len(cells) != len(self._header):
            lost = len(cells) > 1 and len(self._losses) > 0
            return LogRecord(line=line, values={}, garbled=lost)
        if not any(cell[:1] in "0123456789+-." for cell in cells if cell):
            return self._without_digits(line, text, cells)
        values: dict[str, float] = {}
        texts: dict[str, str] = {}
        garbled = False
        for name, cell in zip(self._header, cells, strict=True):
            # Lightning's logger leaves cells empty: training, epoch and validation losses stand in rows of their own.
            # The Trainer's table in a notebook says "No log" until the first loss.
            if not cell or cell in {"-", "NA", "None", "null", "No log"}:
                continue
            number = self._number(cell)
            if number is not None:
                values[name] = number
            else:
                texts[name] = cell
            garbled = garbled or (number is None and name in self._losses)
        return LogRecord(line=line, values=values, garbled=garbled, label=label_of(texts) if texts else "")

    def finish(self) -> LogRecord | None:
        """Return None: no record is longer than its line."""
        return None

    def _find_header(self, text: str) -> None:
        for delimiter in _DELIMITERS:
            full = _cells(text, delimiter)
            # A chart that W&B exports names its columns "RUN - train/loss".
            short = [cell.rpartition(" - ")[2] for cell in full]
            cells = short if len(set(short)) == len(short) else full  # a chart of several runs needs their names
            if len(cells) > 1 and all(map(_may_be_name, cells)) and self._known(cells):
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

    def _without_digits(self, line: int, text: str, cells: list[str]) -> LogRecord | None:
        words = {cell.lower() for cell in cells if cell}
        if words <= {"nan", "inf"} and words:
            found = zip(self._header, cells, strict=True)
            return LogRecord(line=line, values={name: float(cell) for name, cell in found if cell})
        if cells != self._header:  # a run that was appended with other columns
            self._find_header(text)
        return None

    def _number(self, cell: str) -> float | None:
        # "2,5" is two and a half in a table in semicolons; in tabs, "1,234" is a thousand and some.
        comma = self._delimiter == ";" or (self._delimiter == "\t" and not _THOUSANDS.match(cell))
        return parse_decimal_comma(cell) if comma and _DECIMAL_COMMA.match(cell) else parse_number(cell)


def _may_be_name(cell: str) -> bool:
    # darknet's "nan, nan avg loss, 0.001 rate" is no header: a name is no number, whatever stands behind it.
    return not cell or (_NAME.match(cell) is not None and parse_number(cell) is None)


def _cells(text: str, delimiter: str) -> list[str]:
    if '"' not in text:
        return [cell.strip() for cell in text.split(delimiter)]
    try:
        return [cell.strip() for cell in next(csv.reader([text], delimiter=delimiter))]
    except (csv.Error, StopIteration):
        return []


CSV = LineFormat(name="csv", title="CSV or TSV with a header", parser=CsvParser)
