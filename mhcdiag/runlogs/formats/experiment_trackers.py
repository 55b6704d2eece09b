"""What trackers of experiments keep on disk: metric files of MLflow, and .wandb files of Weights & Biases."""

import re
import struct
from collections.abc import Iterator
from pathlib import Path

from mhcdiag.runlogs.interface import FileFormat, LogRecord, LogSample, RecordTable
from mhcdiag.runlogs.lines import LineSplitter
from mhcdiag.runlogs.protobuf import fields
from mhcdiag.runlogs.records import NUMBER, lost_loss, numbers_of, parse_json, parse_number
from mhcdiag.runlogs.sources import LogSource, open_source

# Milliseconds since 1970, value, step; newer versions add the name of a data set.
_MLFLOW_LINE = re.compile(rf"(\d{{12,14}}) ({NUMBER}) (-?\d+)(?: \S+)*\s*$")


def _is_mlflow(sample: LogSample) -> bool:
    lines = sample.head[:4096].decode("utf-8", "replace").splitlines()[:3]
    return bool(lines) and all(_MLFLOW_LINE.match(line) for line in lines)


def _read_mlflow(source: LogSource, table: RecordTable) -> None:
    """Read one metric file, or all of a run folder, where each file is a series."""
    path = Path(source.path)
    folder = path if path.name == "metrics" else path / "metrics"
    if not folder.is_dir():
        _join(table, [(Path(source.path).name, source)])
        return
    # A name with slashes ("train/loss") is a path inside the folder.
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    _join(table, [(path.relative_to(folder).as_posix(), open_source(str(path))) for path in files])


def _join(table: RecordTable, sources: list[tuple[str, LogSource]]) -> None:
    """Take a record per step, all series side by side; a step that was logged twice makes a second record."""
    rows: dict[tuple[int, float], tuple[int, dict[str, float]]] = {}
    for name, source in sources:
        splitter = LineSplitter()
        texts = [text for block in source.blocks() for text in splitter.feed(block).texts] + splitter.finish().texts
        copies: dict[float, int] = {}
        for line, text in enumerate(texts, start=1):
            match = _MLFLOW_LINE.match(text.decode("utf-8", "replace"))
            value = parse_number(match[2]) if match is not None else None
            if match is None or value is None:
                table.garbled += "loss" in name and bool(text.strip())
                continue
            step = float(match[3])
            copies[step] = copies.get(step, 0) + 1
            row = rows.setdefault((copies[step], step), (line, {"timestamp": float(match[1]) / 1000}))
            row[1][name] = value
        table.lines += splitter.count
        source.close()
    for (_, step), (line, values) in sorted(rows.items()):
        table.add(LogRecord(line=line, step=step, values=values))


# The file store of MLflow, without any header: 1628697792090 332.6841735839844 0
MLFLOW = FileFormat(name="mlflow", title="metric files of MLflow", fits=_is_mlflow, read=_read_mlflow)

_MAGIC = b":W&B"
# LevelDB's log format: blocks of 32 KiB; a fragment is CRC (4 bytes), length (2), kind (1), content. The header of W&B
# takes the place of the first seven bytes: ":W&B", 0xBEE1, version.
_BLOCK = 32768
_HEADER = 7
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_HISTORY = 2
"""Field of a record that holds one call of `log`; the others are configuration, output and statistics of the system."""


def _is_wandb(sample: LogSample) -> bool:
    return sample.head.startswith(_MAGIC)


def _read_wandb(source: LogSource, table: RecordTable) -> None:
    """Read a whole file; of one that is cut short or damaged, the records before that."""
    number = 0
    try:
        for message in _messages(source):
            for key, value in fields(message):
                if key == _HISTORY and isinstance(value, bytes):
                    number += 1
                    record = _history(value)
                    table.add(LogRecord(line=number, values=numbers_of(record), garbled=lost_loss(record)))
    except ValueError as error:
        # A run that is still written, or died, ends inside a fragment.
        table.notes.append(f"the file is damaged or cut short ({error}): read up to record {number:,}")
    table.lines = number


def _messages(source: LogSource) -> Iterator[bytes]:
    """Join the fragments of the log; a record may span blocks."""
    parts: list[bytes] = []
    for block in _log_blocks(source):
        position = 0
        while position + 7 <= len(block):
            size, kind = struct.unpack_from("<HB", block, position + 4)
            if kind == 0:  # zeros fill a block whose rest is too short for a fragment
                break
            end = position + 7 + size
            if end > len(block) or kind > _LAST:
                raise ValueError("a fragment that does not end")
            parts = [] if kind in (_FULL, _FIRST) else parts
            parts.append(block[position + 7 : end])
            if kind in (_FULL, _LAST):
                yield b"".join(parts)
            position = end


def _log_blocks(source: LogSource) -> Iterator[bytes]:
    rest = b""
    first = True
    for piece in source.blocks():
        rest += piece
        while len(rest) >= _BLOCK:
            yield rest[_HEADER if first else 0 : _BLOCK]
            rest, first = rest[_BLOCK:], False
    yield rest[_HEADER if first else 0 :]


def _history(message: bytes) -> dict[str, object]:
    """Return one history record: its items carry a name (or a path of names) and a JSON value."""
    record: dict[str, object] = {}
    for number, item in fields(message):
        if number == 1 and isinstance(item, bytes):
            names: list[str] = []
            value: object = None
            for part, content in fields(item):
                # Field 1 is a plain key, field 2 repeats for a path of keys, field 16 is the value as JSON.
                if part in (1, 2) and isinstance(content, bytes):
                    names.append(content.decode("utf-8", "replace"))
                elif part == 16 and isinstance(content, bytes):
                    value = parse_json(content)
            record["/".join(names)] = value
    return record


# run-ID.wandb of Weights & Biases, online and offline. Current releases of wandb hold no reader in Python any more.
WANDB_FILE = FileFormat(
    name="wandb", title="offline run of Weights & Biases (.wandb)", fits=_is_wandb, read=_read_wandb
)
