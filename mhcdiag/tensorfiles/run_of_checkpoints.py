"""The checkpoints of one run in the order of their steps."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from mhcdiag.errors import InputError
from mhcdiag.tensorfiles.names import numbered, shown_address
from mhcdiag.tensorfiles.places import is_remote
from mhcdiag.tensorfiles.recognition import is_checkpoint, is_named_as_checkpoint, open_checkpoint

# global_step100 of DeepSpeed, iter_0000100 of Megatron-LM, checkpoint-100 of transformers, step_100 of most others. A
# letter before the word means another word: "onestep7" and "split7" name no step.
_STEP = re.compile(r"(?:^|[^a-z])(?:global_?step|step|iter(?:ation)?|checkpoint|ckpt|it)s?[-_=]?(\d+)", re.IGNORECASE)
_KEYS = ("step", "global_step", "iteration")


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointAt:
    """One checkpoint and its step."""

    path: str
    """As the user named it, or inside the folder that the user named."""
    step: float
    """Optimiser step."""


def is_run(path: str) -> bool:
    """Whether a path is to be read as checkpoints of a run rather than as a log: one checkpoint, or any folder."""
    return os.path.isdir(path) or is_checkpoint(path)


def shown_path(path: str) -> str:
    """A path as reports show it: as it is, an address without what may be secret."""
    return shown_address(path) if is_remote(path) else path


def find_checkpoints(paths: Sequence[str]) -> list[CheckpointAt]:
    """The checkpoints behind the paths, in the order of their steps.

    Parameters
    ----------
    paths
        Each a file, an address, a folder of checkpoints named by their steps, or a folder that is one checkpoint.

    Raises
    ------
    InputError
        A step is unknown or occurs twice, or there is only one checkpoint.
    """
    found = [each for path in paths for each in _inside(path)]
    series = sorted((CheckpointAt(path=path, step=_step_of(path)) for path in found), key=lambda each: each.step)
    for one, other in pairwise(series):
        if one.step == other.step:
            raise InputError(
                shown_path(other.path),
                found=f"step {one.step:g}, as {shown_path(one.path)}",
                expected="one checkpoint per step",
                hint="name the checkpoints of one run",
            )
    if len(series) < 2:
        only = series[0].path if series else paths[0]
        raise InputError(
            shown_path(only),
            found=f"{len(series)} checkpoint" + ("s" if not series else ""),
            expected="two or more for a trend",
        )
    return series


def _inside(path: str) -> list[str]:
    folder = Path(path)
    if not folder.is_dir():
        return [path]
    entries = sorted(folder.iterdir())
    # Shards of one checkpoint may carry its step, but are no series.
    files = [each for each in entries if is_named_as_checkpoint(each.name) and not numbered([each.name])]
    files = [each for each in files if _STEP.search(each.stem)]
    folders = [each for each in entries if each.is_dir() and _STEP.search(each.name) and is_checkpoint(str(each))]
    if files or folders:
        return [str(each) for each in files or folders]
    if is_checkpoint(path):
        return [path]
    raise InputError(path, found="a folder without checkpoints", expected="files or folders named by their steps")


def _step_of(path: str) -> float:
    """The step in the name, else in the file's metadata, else in the configuration beside it."""
    shown = Path(shown_path(path))
    for name in (shown.name, shown.parent.name):
        matches = _STEP.findall(name)
        if matches:
            return float(matches[-1])
    checkpoint = open_checkpoint(path)
    for values in (checkpoint.metadata, checkpoint.config or {}):
        for key in _KEYS:
            text = str(values.get(key, ""))
            if text.isdigit():
                return float(text)
    raise InputError(
        shown_path(path),
        found="no step in its name, its metadata or its configuration",
        expected="a name like step_1000 or checkpoint-1000",
    )
