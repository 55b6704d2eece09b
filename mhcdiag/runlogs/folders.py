"""Paths to logs: files, and folders of which this says what in them is a log and which are one run."""

import io
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mhcdiag.errors import LogError
from mhcdiag.runlogs.eventfiles import separate_runs
from mhcdiag.runlogs.interface import Keys
from mhcdiag.runlogs.log_table import LogTable
from mhcdiag.runlogs.reading import read_source
from mhcdiag.runlogs.recognition import is_log
from mhcdiag.runlogs.sources import LogSource, open_source

FolderKind = Literal["mlflow", "tensorboard"]

MOST_NAMED = 5
"""Logs of a folder that an error names."""

_CHECKPOINT = re.compile(r"checkpoint-(\d+)$")
_STATE = "trainer_state.json"
# What W&B writes about itself beside a run.
_OF_WANDB = re.compile(r"debug(?:-internal|-core|-cli.*)?\.log$|wandb-(?:summary|metadata)\.json$")
# Folders of MLflow's run that hold no logs of the training code.
_OF_MLFLOW = frozenset({"metrics", "params", "tags"})


def folder_kind(path: Path) -> FolderKind | None:
    """Return the kind of run a folder is, None if it is an ordinary folder."""
    if (path / "metrics").is_dir() and ((path / "meta.yaml").exists() or (path / "params").is_dir()):
        return "mlflow"
    return "tensorboard" if any(path.glob("*tfevents*")) else None


def iter_logs(path: str) -> list[str]:
    """Return the logs behind a path: itself, or all those inside a folder, run folders as one log each.

    Files named `.log` and `.out` are always logs, so that one without any record is reported and not passed over;
    others are if they are read as one (`recognition`). Event files of one folder are one log where they continue each
    other, and a log each where they are different runs. Of the checkpoints of a Hugging Face run, whose states repeat
    each other, the last counts.

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
    try:
        found = [str(one) for one in _Walk(root=folder.resolve()).logs(folder)]
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise LogError(error.filename or path, found=reason, expected="a folder that can be looked through") from error
    if not found:
        raise LogError(path, found="a folder without logs", expected="log files, or the folder of a run")
    return found


@dataclass(kw_only=True, slots=True)
class _Walk:
    """One walk through a folder and what is linked into it; no folder is met twice."""

    root: Path
    met: set[Path] = field(default_factory=set)

    def logs(self, folder: Path) -> Iterator[Path]:
        """Yield the logs in a folder and below it."""
        kind = folder_kind(folder)
        if kind == "mlflow":
            yield folder
        if events := sorted(folder.glob("*tfevents*")):
            runs = separate_runs(events)
            yield from runs if len(runs) > 1 else (folder,)
        for entry in sorted(folder.iterdir()):
            if kind == "mlflow" and entry.name in _OF_MLFLOW:
                continue
            if entry.is_symlink() and self._known(entry):
                continue  # a second name for what is met elsewhere
            if entry.is_dir():
                if not entry.name.startswith(".") and not self._entered(entry):
                    yield from self.logs(entry)
            elif "tfevents" not in entry.name and entry.is_file() and not _repeats(entry) and is_log(entry):
                yield entry

    def _known(self, link: Path) -> bool:
        try:
            return link.resolve(strict=True).is_relative_to(self.root)
        except (OSError, RuntimeError):  # to itself, or to nothing
            return True

    def _entered(self, folder: Path) -> bool:
        # Links out of the root may lead to each other.
        place = folder.resolve()
        known = place in self.met
        self.met.add(place)
        return known


def _repeats(entry: Path) -> bool:
    """Say whether a file only repeats what others hold, or is W&B's own."""
    if entry.name == _STATE and _CHECKPOINT.match(entry.parent.name):
        return _older_checkpoint(entry.parent)
    if _OF_WANDB.match(entry.name) is None:
        return False
    near = (entry.parent, entry.parent.parent)
    return "wandb" in entry.parts[-4:-1] or any(any(folder.glob("*.wandb")) for folder in near)


def _older_checkpoint(entry: Path) -> bool:
    # The trainer_state.json of every checkpoint holds the whole history up to it. One that was written after a later
    # step's is that of another run, which was started anew in the same folder.
    match = _CHECKPOINT.match(entry.name)
    assert match is not None
    mine = (entry / _STATE).stat().st_mtime
    later = [entry.parent / _STATE] + [
        other / _STATE
        for other in entry.parent.glob("checkpoint-*")
        if (found := _CHECKPOINT.match(other.name)) is not None and int(found[1]) > int(match[1])
    ]
    return any(state.is_file() and state.stat().st_mtime >= mine - 1 for state in later)


def read_log(
    path: str,
    *,
    log_format: str | None = None,
    loss_key: str | None = None,
    step_key: str | None = None,
    regex: str | None = None,
    keep: Callable[[str], bool] | None = None,
) -> LogTable:
    """Read a training log into a table with one row per record.

    Parameters
    ----------
    path
        A file, the folder of one run, or `-` for standard input.
    log_format
        Name of the format; recognised when None.
    loss_key, step_key
        Names of loss and step in the log; words decide when None.
    regex
        Pattern with the groups `loss` and `step`, in place of a format.
    keep
        Says of a name whether its series is kept even in a log with thousands of series.

    Raises
    ------
    LogError
        The log cannot be read, no format fits, or it does not have the loss that was named.
    SettingError
        There is no such format, the pattern is none, or the log has no such step.
    MissingExtraError
        The log is compressed by zstandard, which is not installed.
    """
    keys = Keys(loss=loss_key, step=step_key, regex=regex)
    source, log_format = open_log(path, log_format)
    try:
        return read_source(source, log_format=log_format, keys=keys, keep=keep)
    finally:
        source.close()


def open_log(path: str, log_format: str | None) -> tuple[LogSource, str | None]:
    """Open a log, or the folder of one run; return it with the name of its format, which a folder decides.

    Raises
    ------
    LogError
        The folder is no run, or holds several logs.
    """
    if path == "-" or not Path(path).is_dir():
        return open_source(path), log_format
    logs = iter_logs(path)
    if len(logs) > 1:
        raise several_logs(path, logs)
    (log,) = logs
    kind = folder_kind(Path(log)) if Path(log).is_dir() else None
    if kind is not None:
        return LogSource(log, io.BytesIO()), kind
    return open_source(log), log_format


def several_logs(path: str, logs: Sequence[str]) -> LogError:
    """Return the error for a folder that holds several logs where one is wanted."""
    named = ", ".join(os.path.relpath(log, path) for log in logs[:MOST_NAMED])
    more = f" and {len(logs) - MOST_NAMED} more" if len(logs) > MOST_NAMED else ""
    return LogError(
        path,
        found=f"a folder with {len(logs)} logs ({named}{more})",
        expected="one log, or the folder of one run",
        hint="name the log",
    )
