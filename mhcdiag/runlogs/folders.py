"""Paths to logs: files, and folders of which this says what in them is a log and which are one run."""

import io
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mhcdiag.errors import LogError
from mhcdiag.runlogs.eventfiles import separate_runs
from mhcdiag.runlogs.interface import Keys
from mhcdiag.runlogs.log_table import LogTable
from mhcdiag.runlogs.reading import read_source
from mhcdiag.runlogs.recognition import is_log
from mhcdiag.runlogs.records import parse_json
from mhcdiag.runlogs.sources import LogSource, open_source

FolderKind = Literal["mlflow", "tensorboard"]

EVENTS, METRICS = "*tfevents*", "metrics"
"""What stands for the event files of a folder, and for the series of MLflow, where there are other logs beside them."""
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
    histories: dict[Path, list[Any] | None] = field(default_factory=dict)

    def logs(self, folder: Path) -> list[Path]:
        """Return the logs in a folder and below it."""
        kind = folder_kind(folder)
        inner: list[Path] = []
        for entry in sorted(folder.iterdir()):
            if kind == "mlflow" and entry.name in _OF_MLFLOW:
                continue
            if entry.is_symlink() and self._known(entry):
                continue  # a second name for what is met elsewhere
            if entry.is_dir():
                if not entry.name.startswith(".") and not self._entered(entry):
                    inner += self.logs(entry)
            elif "tfevents" not in entry.name and entry.is_file() and not self._repeats(entry) and is_log(entry):
                inner.append(entry)
        own = _own_logs(folder, kind)
        # The folder stands for its run where it holds nothing else.
        return own + inner if own and (inner or len(own) > 1) else [folder] if own else inner

    def _known(self, link: Path) -> bool:
        try:
            return link.resolve(strict=True).is_relative_to(self.root)
        except (OSError, RuntimeError):  # to itself, or to nothing
            return True

    def _repeats(self, entry: Path) -> bool:
        """Say whether a file only repeats what others hold.

        The trainer_state.json of every checkpoint holds the whole history up to it. One that differs is of another run,
        which was started anew in the same folder.
        """
        if _of_wandb_itself(entry):
            return True
        mine: list[Any] | None = None
        for state in _later_states(entry):
            mine = _history_of(entry) if mine is None else mine
            theirs = self._history(state)
            if mine is not None and theirs is not None and theirs[: len(mine)] == mine:
                return True
        return False

    def _history(self, state: Path) -> list[Any] | None:
        if state not in self.histories:
            self.histories[state] = _history_of(state)
        return self.histories[state]

    def _entered(self, folder: Path) -> bool:
        # Links out of the root may lead to each other.
        place = folder.resolve()
        known = place in self.met
        self.met.add(place)
        return known


def _own_logs(folder: Path, kind: FolderKind | None) -> list[Path]:
    """Return the logs that a folder is, as paths that say which of its files are meant."""
    own = [folder / METRICS] if kind == "mlflow" else []
    events = sorted(folder.glob(EVENTS))
    if not events:
        return own
    runs = separate_runs(events)
    return own + (runs if len(runs) > 1 else events if len(events) == 1 else [folder / EVENTS])


def _later_states(entry: Path) -> list[Path]:
    """Return the states of a Trainer that may hold all that one of an earlier checkpoint holds."""
    match = _CHECKPOINT.match(entry.parent.name)
    if entry.name != _STATE or match is None:
        return []
    run = entry.parent.parent
    later = [
        other / _STATE
        for other in run.glob("checkpoint-*")
        if (found := _CHECKPOINT.match(other.name)) is not None and int(found[1]) > int(match[1])
    ]
    return [state for state in (run / _STATE, *later) if state.is_file()]


def _of_wandb_itself(entry: Path) -> bool:
    """Say whether W&B wrote a file about itself, or a summary of what it keeps elsewhere."""
    if _OF_WANDB.match(entry.name) is None:
        return False
    near = (entry.parent, entry.parent.parent)
    return "wandb" in entry.parts[-4:-1] or any(any(folder.glob("*.wandb")) for folder in near)


def _history_of(state: Path) -> list[Any] | None:
    """Return what a state of the Trainer has logged; None where it cannot be read."""
    try:
        found = parse_json(state.read_bytes())
    except (OSError, ValueError):
        return None
    history = found.get("log_history") if isinstance(found, dict) else None
    return history if isinstance(history, list) else None


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
    place = Path(path)
    if place.name == EVENTS or (place.name == METRICS and folder_kind(place.parent) == "mlflow"):
        return LogSource(path, io.BytesIO()), "tensorboard" if place.name == EVENTS else "mlflow"
    if path == "-" or not place.is_dir():
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
