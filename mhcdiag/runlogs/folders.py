"""Folders of logs: what in them is a log, and which folders are one run."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from mhcdiag.errors import LogError, MhcdiagError
from mhcdiag.runlogs.detection import choose_format
from mhcdiag.runlogs.interface import Keys
from mhcdiag.runlogs.sources import open_source

FolderKind = Literal["mlflow", "tensorboard"]

_PACKED = {".gz", ".bz2", ".xz", ".zst"}
_LOG = {".log", ".out"}
_MAYBE = {".txt", ".json", ".jsonl", ".csv", ".tsv", ".wandb"}
_CHECKPOINT = re.compile(r"checkpoint-(\d+)$")


def folder_kind(path: Path) -> FolderKind | None:
    """Return the kind of run a folder is, None if it is an ordinary folder."""
    if (path / "metrics").is_dir() and ((path / "meta.yaml").exists() or (path / "params").is_dir()):
        return "mlflow"
    return "tensorboard" if any(path.glob("*tfevents*")) else None


def iter_logs(path: str) -> list[str]:
    """Return the logs behind a path: itself, or those inside a folder, run folders as one log each.

    Files named `.log` and `.out` are always logs, so that one without any record is reported and not passed over;
    others are if a format recognises them. Of the checkpoints of a Hugging Face run, whose states repeat each other,
    the last counts.

    Parameters
    ----------
    path
        A file, a folder, or `-`.

    Raises
    ------
    LogError
        The folder holds no log.
    """
    folder = Path(path)
    if path == "-" or not folder.is_dir():
        return [path]
    found = [str(one) for one in _walk(folder)]
    if not found:
        raise LogError(path, found="a folder without logs", expected="log files, or the folder of a run")
    return found


def _walk(folder: Path) -> Iterator[Path]:
    kind = folder_kind(folder)
    if kind is not None:
        yield folder
    if kind == "mlflow":
        return
    if histories := sorted(folder.glob("*.wandb")):
        yield from histories  # what else lies there are logs of W&B itself, and copies
        return
    for entry in sorted(folder.iterdir()):
        if entry.is_symlink() and (entry.is_dir() or _leads_back(entry, folder)):
            continue  # a second name for what is met elsewhere
        if entry.is_dir():
            if not entry.name.startswith(".") and not _older_checkpoint(entry):
                yield from _walk(entry)
        elif "tfevents" not in entry.name and not entry.is_fifo() and _is_log(entry):
            yield entry


def _leads_back(link: Path, folder: Path) -> bool:
    try:
        return link.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # to itself
        return True


def _older_checkpoint(entry: Path) -> bool:
    # The trainer_state.json of every checkpoint holds the whole history up to it.
    match = _CHECKPOINT.match(entry.name)
    if match is None:
        return False
    if (entry.parent / "trainer_state.json").exists():
        return True
    others = (_CHECKPOINT.match(other.name) for other in entry.parent.glob("checkpoint-*"))
    return any(other is not None and int(other[1]) > int(match[1]) for other in others)


def _is_log(entry: Path) -> bool:
    suffixes = [suffix for suffix in entry.suffixes if suffix not in _PACKED]
    suffix = suffixes[-1].lower() if suffixes else ""
    if suffix in _LOG:
        return True
    return suffix in _MAYBE and _recognised(entry)


def _recognised(entry: Path) -> bool:
    try:
        source = open_source(str(entry))
    except MhcdiagError:
        return False
    try:
        # Both find some number in nearly any document or text: what they alone recognise is not taken for a log.
        return choose_format(source, log_format=None, keys=Keys()).name not in {"json", "generic"}
    except MhcdiagError:
        return False
    finally:
        source.close()
