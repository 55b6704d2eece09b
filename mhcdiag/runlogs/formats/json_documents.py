"""Logs that are one JSON document: trainer_state.json, Megatron-LM's golden values, and any list of records."""

import re
from typing import Any

from mhcdiag.errors import LogError
from mhcdiag.runlogs.documents import (
    load_document,
    objects_in_a_row,
    objects_of_list,
    opens_document,
    read_document,
)
from mhcdiag.runlogs.interface import FileFormat, LogRecord, LogSample, RecordTable
from mhcdiag.runlogs.records import label_of, lost_loss, numbers_of, parse_json
from mhcdiag.runlogs.sources import LogSource


def _is_trainer_state(sample: LogSample) -> bool:
    # The Trainer sorts the keys, and the list is the ninth of them; a file that was written again may have another
    # order, so that all pieces are looked at.
    return opens_document(sample) and any(b'"log_history"' in piece for piece in (sample.head, *sample.pieces))


def _read_trainer_state(source: LogSource, table: RecordTable) -> None:
    """Read the list `log_history`; of a file that is cut short, the records before the cut."""
    data = read_document(source)
    for number, entry in enumerate(_log_history(source.path, data, table), start=1):
        if isinstance(entry, dict):
            table.add(LogRecord(line=number, values=numbers_of(entry), garbled=_lost_training_loss(entry)))
    table.lines = table.rows


def _log_history(path: str, data: bytes, table: RecordTable) -> list[Any]:
    try:
        state = parse_json(data)
    except ValueError:
        # Of a file that was cut while it was written, the objects before the cut are whole.
        found = list(objects_of_list(data, '"log_history"'))
        if not found:
            raise LogError(path, found="broken JSON", expected="a whole trainer_state.json") from None
        table.notes.append(f"the JSON is cut short or damaged: {len(found):,} records before that are read")
        return list(found)
    history = state.get("log_history") if isinstance(state, dict) else None
    if not isinstance(history, list):
        raise LogError(path, found="no list 'log_history'", expected="a trainer_state.json")
    return history


def _lost_training_loss(entry: dict[str, Any]) -> bool:
    return "loss" in entry and entry["loss"] is not None and "loss" not in numbers_of({"loss": entry["loss"]})


# The Trainer of transformers, one object per logging step, evaluations between them:
# {"log_history": [{"epoch": 0.0005, "grad_norm": 1.05, "learning_rate": 4.8e-06, "loss": 0.1677, "step": 25}, ...]}
# A NaN loss is logged as 0.0 (logging_nan_inf_filter), and bare NaN stands in the file where the filter is off.
TRAINER_STATE = FileFormat(
    name="trainer_state",
    title="trainer_state.json (Hugging Face Trainer)",
    fits=_is_trainer_state,
    read=_read_trainer_state,
    preferred={"loss": ("loss",)},
    nan_family="huggingface",
)

_WHOLE_STEP = re.compile(r"-?[0-9]+")


def _is_golden(sample: LogSample) -> bool:
    head = sample.head[:4096]
    return opens_document(sample) and b'"start_step"' in head and b'"values"' in head


def _read_golden(source: LogSource, table: RecordTable) -> None:
    """Read series by name, each with its first step, its interval and its values."""
    document = load_document(source, read_document(source))
    if not isinstance(document, dict):
        raise LogError(source.path, found="no JSON object", expected="series by name")
    rows: dict[float, dict[str, float]] = {}
    for name, series in document.items():
        for step, value in _golden_points(series).items():
            rows.setdefault(step, {})[name] = value
    # A series that is "nan" at every step was not recorded at all. It goes before `nanrules` asks whether every metric
    # of a record is NaN.
    never = {name for name in document if all(row.get(name, 0.0) != row.get(name, 0.0) for row in rows.values())}
    for number, step in enumerate(sorted(rows), start=1):
        values = {name: value for name, value in rows[step].items() if name not in never}
        table.add(LogRecord(line=number, step=step, values=values))
    if never:
        table.notes.append(f"never recorded (all nan): {', '.join(sorted(never))}")
    table.lines = table.rows


def _golden_points(series: Any) -> dict[float, float]:
    if not isinstance(series, dict):
        return {}
    values = series.get("values")
    if isinstance(values, list):  # files of before 2025
        first, interval = series.get("start_step", 0), series.get("step_interval", 1)
        if not isinstance(first, int) or not isinstance(interval, int):
            return {}
        values = {str(first + number * interval): value for number, value in enumerate(values)}
    found = numbers_of(values) if isinstance(values, dict) else {}
    return {float(step): value for step, value in found.items() if _WHOLE_STEP.fullmatch(step)}


# tests/functional_tests/**/golden_values_*.json of NVIDIA/Megatron-LM (d98e8a64):
# {"lm loss": {"start_step": 1, "end_step": 51000, "step_interval": 5, "values": {"1": 12.95636, "51000": "nan"}}}
# "nan" means "not recorded" there: of every metric at 1,707 steps of the golden run of Mixtral 8x7B, in five blocks,
# and of iteration-time alone at 3,801 of the 4,001 steps of BERT.
GOLDEN_VALUES = FileFormat(
    name="golden_values",
    title="golden values of Megatron-LM (JSON)",
    fits=_is_golden,
    read=_read_golden,
    preferred={"loss": ("lm loss", "lm_loss")},
    nan_family="golden",
)


def _read_records(source: LogSource, table: RecordTable) -> None:
    """Read the largest list of records in a document, or its lists of equal length."""
    data = read_document(source)
    rescued = list(objects_of_list(data, "")) if data[:1] == b"[" else []
    if rescued and not data.rstrip().endswith(b"]"):
        table.notes.append(f"the JSON is cut short: {len(rescued):,} records before that are read")
        records = rescued
    else:
        records = _largest_list(_document_of(source, data, table))
    if not records:
        raise LogError(
            source.path,
            found="a JSON document without training records",
            expected="a list of records, or a trainer_state.json",
        )
    for number, record in enumerate(records, start=1):
        lost = lost_loss(record)
        table.add(LogRecord(line=number, values=numbers_of(record), garbled=lost, label=label_of(record)))
    table.lines = len(records)


def _document_of(source: LogSource, data: bytes, table: RecordTable) -> Any:
    """Return the value of a document; of a file with one object behind the other, the list of them."""
    try:
        return load_document(source, data)
    except LogError:
        objects, lost = objects_in_a_row(data) if data[:1] == b"{" else ([], 0)
        if len(objects) < 2:
            raise
        if lost:
            table.notes.append(f"{lost:,} objects are damaged or cut short")
        table.garbled += lost
        return objects


def _largest_list(document: Any) -> list[dict[str, Any]]:
    if isinstance(document, list):
        return [entry for entry in document if isinstance(entry, dict)]
    if not isinstance(document, dict):
        return []
    lists = [value for value in document.values() if isinstance(value, list)]
    inner = max((_largest_list(value) for value in lists), key=len, default=[])
    if inner:
        return inner
    # The history of Keras: {"loss": [2.5, 2.25], "val_loss": [2.75, 2.5]}. Lists of another length are no series.
    length = max(map(len, lists), default=0)
    columns = {key: value for key, value in document.items() if isinstance(value, list) and len(value) == length}
    return [{key: values[row] for key, values in columns.items()} for row in range(length)]


# Whatever else a script dumps: [{"step": 3, "loss": 2.5}, ...], the same inside an object, columns by name, or one
# indented object behind the other (json.dump with an indent, once a step).
JSON_RECORDS = FileFormat(
    name="json",
    title="a JSON document with a list of records",
    fits=opens_document,
    read=_read_records,
)
