"""Whether a file in a folder is a training log: by its name, its first bytes, and where need be by reading it."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mhcdiag.errors import LogError, MhcdiagError
from mhcdiag.runlogs.detection import choose_format, take_sample
from mhcdiag.runlogs.gain_names import gain_names
from mhcdiag.runlogs.interface import Keys
from mhcdiag.runlogs.log_table import LogTable
from mhcdiag.runlogs.reading import read_source
from mhcdiag.runlogs.sources import LogSource, open_source
from mhcdiag.runlogs.tables import ResultsError

# Always logs: one without any record is reported, and not passed over.
_LOG = {".log", ".out", ".wandb"}
_NAMES = {"trainer_state.json", "trainer_log.jsonl", "internal_medicine.jsonl"}
# Never: documents, code and its settings, weights, data, pictures. A table of final losses in a README is no run.
_NEVER = {
    ".md", ".rst", ".tex", ".html", ".htm", ".ipynb", ".pdf", ".py", ".pyc", ".pyi", ".sh", ".bash", ".slurm",
    ".sbatch", ".yaml", ".yml", ".toml", ".cfg", ".ini", ".conf", ".env", ".c", ".cc", ".cpp", ".cu", ".h", ".hpp",
    ".rs", ".go", ".js", ".ts", ".css", ".xml", ".diff", ".patch", ".lock", ".pid", ".safetensors", ".pt", ".pth",
    ".bin", ".ckpt", ".npz", ".npy", ".h5", ".hdf5", ".onnx", ".gguf", ".model", ".distcp", ".index", ".pkl",
    ".pickle", ".parquet", ".arrow", ".feather", ".lmdb", ".mdb", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".mp4",
    ".wav", ".zip", ".tar", ".tgz", ".whl", ".so", ".o", ".a", ".profile", ".nsys-rep", ".qdrep", ".prof",
}  # fmt: skip
_PACKED = {".gz", ".bz2", ".xz", ".zst"}
# Behind the name of a log that was rotated or put aside: "train.log.1", "train.log.2024-01-31", "x.jsonl.bak".
_ASIDE = re.compile(r"\.(?:\d[\d_T-]*|bak|old|prev|orig)$")
# Batch systems name what a job printed "train.o4711" (PBS, SGE).
_JOB = re.compile(r"\.[oe]\d+$")
# Without one of these words there is nothing to judge; looking for them costs next to nothing.
_WORDS = re.compile(rb"(?i)loss|nll|xent|cost|perplexity|\bppl|norm|objective|gain|amax|cross.?entropy")

LARGEST_READ = 1 << 26
"""Bytes of a file that is read to see whether it is a log; a larger one of its kind is one."""
LEAST_RECORDS = 8
"""Records with a loss and a rising step that make a log of lines in no known format."""


def is_log(entry: Path) -> bool:
    """Say whether a file is a log, or cannot be looked at and bears the name of one."""
    suffix = _suffix(entry.name)
    if suffix in _LOG or entry.name in _NAMES:
        return True
    if suffix in _NEVER:
        return False
    try:
        source = open_source(str(entry))
    except MhcdiagError:
        return True  # what cannot be opened is told, and not passed over
    try:
        return _recognised(source, entry)
    finally:
        source.close()


def _suffix(name: str) -> str:
    """Return what the name of a file ends on, without what a compressor or a rotation put behind it."""
    path = Path(name.lower())
    while path.suffix in _PACKED or _ASIDE.match(path.suffix):
        path = path.with_suffix("")
    return ".out" if _JOB.match(path.suffix) else path.suffix


def _recognised(source: LogSource, entry: Path) -> bool:
    sample = take_sample(source)
    pieces = (sample.head, *sample.pieces)
    text = sample.head.lstrip()
    # Two columns of numbers hold no word; the files of trackers begin with marks of their own.
    marked = text[:1].isdigit() or text.startswith((b":W&B", b":::MLLOG")) or b"brain.Event:" in sample.head[:64]
    if not marked and not any(_WORDS.search(piece) for piece in pieces):
        return False
    try:
        name = choose_format(source, log_format=None, keys=Keys()).name
    except MhcdiagError:
        return False
    if name == "json":
        return _read(entry, _is_course)
    if name == "generic":
        return _read(entry, _is_rising)
    return name not in {"jsonl", "csv"} or _read(entry, _is_anything)


def _read(entry: Path, judge: Callable[[LogTable], bool]) -> bool:
    """Say what a look at the whole table says; what is too large for that is a log."""
    if entry.stat().st_size > LARGEST_READ:
        return True
    try:
        source = open_source(str(entry))
    except MhcdiagError:
        return True
    try:
        return judge(read_source(source, log_format=None, keys=Keys()))
    except ResultsError:
        return False  # final results of several models: a document, and no log
    except LogError:
        # Broken, but in the shape of a log: that is told. Any document has the shape of "json".
        return judge is _is_anything
    except MhcdiagError:
        return True
    finally:
        source.close()


def _is_anything(table: LogTable) -> bool:
    """Say whether lines hold more than one summary without a step (the all_results.json of the Trainer)."""
    return len(table.step) > 1 or _has_step(table)


def _has_step(table: LogTable) -> bool:
    return not any(note.startswith("no step in the log") for note in table.notes)


def _is_course(table: LogTable) -> bool:
    """Say whether a JSON document holds a loss or a gain over steps, as a history does and a configuration does not."""
    if len(table.step) < 2:
        return False
    return "loss" in table.columns or (_has_step(table) and bool(gain_names(list(table.columns))))


def _is_rising(table: LogTable) -> bool:
    """Say whether lines in no known format hold a loss over a step that rises, as no prose does."""
    if "loss" not in table.columns or not _has_step(table):
        return False
    carried = np.isfinite(table.columns["loss"])
    if "loss" in table.nan_rows:
        carried |= table.nan_rows["loss"]
    moves = np.diff(table.step[carried])
    return len(moves) + 1 >= LEAST_RECORDS and int(np.count_nonzero(moves > 0)) >= 0.5 * len(moves)
