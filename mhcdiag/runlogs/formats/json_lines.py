"""One JSON object per line: the loggers of most scripts, W&B history exports, LLaMA-Factory's trainer_log.jsonl."""

from __future__ import annotations  # arrays take a type in annotations from Python 3.12 on

from array import array
from collections.abc import Sequence
from math import isfinite
from typing import Any

from mhcdiag.runlogs.interface import Keys, LineFormat, LogRecord, RecordTable
from mhcdiag.runlogs.records import label_of, loads_strictly, lost_loss, numbers_of, parse_json


class JsonLineParser:
    """Reads one object a line, and many lines at once where nothing is unusual in them."""

    def __init__(self, keys: Keys) -> None:
        self._loss = keys.loss

    def feed(self, line: int, text: str) -> LogRecord | None:
        """Return the record of a line, or None."""
        if not text.startswith("{"):
            return None
        try:
            found = parse_json(text)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            return LogRecord(line=line, values={}, garbled=self._names_loss(text))
        lost = lost_loss(found, self._loss)
        return LogRecord(line=line, values=numbers_of(found), garbled=lost, label=label_of(found))

    def finish(self) -> LogRecord | None:
        """Return None: no record is longer than its line."""
        return None

    def feed_block(self, numbers: Sequence[int], texts: list[bytes], table: RecordTable) -> bool:
        """Read many lines in one go, if all are objects with the same keys and finite values."""
        columns = _columns(texts, first=not table.rows)
        if columns is None:
            return False
        table.add_block(numbers, columns)
        return True

    def _names_loss(self, text: str) -> bool:
        return (f'"{self._loss}"' if self._loss else 'loss"') in text


def _columns(texts: list[bytes], *, first: bool) -> dict[str, array[float]] | None:
    # One call of the parser for the whole block, as if it were one list, takes half the time of a loop over lines.
    # It knows neither NaN nor raw control characters: blocks with those are read line by line.
    try:
        records: list[Any] = loads_strictly(b"[" + b",".join(texts) + b"]")
        keys = tuple(records[0])
        same = len(records) == len(texts) and set(map(tuple, records)) == {keys}
    except (ValueError, TypeError, IndexError, RecursionError):
        return None
    if not same or not isinstance(records[0], dict) or (first and len(set(map(label_of, records))) == len(records)):
        return None  # records that each bear a name of their own are read one by one, with their names
    return _float_columns(keys, records)


def _float_columns(keys: tuple[str, ...], records: list[dict[str, Any]]) -> dict[str, array[float]] | None:
    columns: dict[str, array[float]] = {}
    for key, values in zip(keys, zip(*map(dict.values, records), strict=True), strict=True):
        kinds = set(map(type, values))
        if kinds <= {float, int}:
            try:
                columns[key] = array("d", values)
            except OverflowError:  # an integer of more than 308 digits
                return None
        elif kinds in ({str}, {list}):
            # "25.2" and [25.2] are numbers for `numbers_of`, and a loss of "#?#" has to be counted: these need the slow
            # way.
            if any(numbers_of({key: value}) for value in values):
                return None
        elif kinds != {type(None)}:
            return None
    return columns if all(isfinite(sum(column)) for column in columns.values()) else None


JSONL = LineFormat(name="jsonl", title="JSON lines", parser=JsonLineParser)


class _TrainerLogParser:
    """The same objects, with LLaMA-Factory's names of the step and of the planned number of steps."""

    def __init__(self, keys: Keys) -> None:
        self._json = JsonLineParser(keys)
        self._step = keys.step or "current_steps"

    def feed(self, line: int, text: str) -> LogRecord | None:
        """Return the record of a line, or None."""
        if '"current_steps"' not in text:
            return None
        record = self._json.feed(line, text)
        if record is None or self._step not in record.values:
            return record
        values = dict(record.values)
        step, total = values.pop(self._step), values.pop("total_steps", None)
        return LogRecord(line=line, step=step, total_steps=total, values=values, garbled=record.garbled)

    def finish(self) -> LogRecord | None:
        """Return None: no record is longer than its line."""
        return None


# trainer_log.jsonl of LLaMA-Factory, which writes what the Hugging Face Trainer reports, NaN as 0.0 included:
# {"current_steps": 10, "total_steps": 8660, "loss": 2.4977, "learning_rate": 5.77e-07, "elapsed_time": "0:00:24"}
# Older versions write "lr" and "eval_loss": null.
LLAMAFACTORY = LineFormat(
    name="llamafactory",
    title="trainer_log.jsonl (LLaMA-Factory)",
    parser=_TrainerLogParser,
    preferred={"loss": ("loss",)},
    nan_family="huggingface",
)
