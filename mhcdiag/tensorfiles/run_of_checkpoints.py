"""The checkpoints of one run in the order of their steps."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from mhcdiag.errors import InputError

CHECKPOINT_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")
_STEP = re.compile(r"(?:^|[^a-z])(?:global_?step|step|iter(?:ation)?|checkpoint|ckpt|it)s?[-_=]?(\d+)", re.IGNORECASE)
_SHARD = re.compile(r"-\d{5}-of-\d{5}\.")
_KEYS = ("step", "global_step", "iteration")


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointAt:
    """One checkpoint and its step."""

    path: str
    """As the user named it, or inside the folder that the user named."""
    step: float
    """Optimiser step."""


def is_checkpoint(path: str) -> bool:
    """Whether a path is one checkpoint or a folder of them, rather than a log; a missing path counts by its name."""
    place = Path(path)
    return place.is_dir() or place.suffix in CHECKPOINT_SUFFIXES


def find_checkpoints(paths: Sequence[str]) -> list[CheckpointAt]:
    """The checkpoints behind the paths, in the order of their steps.

    A path is a file, a folder of checkpoints named by their steps, or a folder that is one checkpoint.

    Raises: InputError where a step is unknown or occurs twice, or where there is only one checkpoint.
    """
    found = [each for path in paths for each in _inside(path)]
    series = sorted((CheckpointAt(path=path, step=_step_of(path)) for path in found), key=lambda each: each.step)
    for one, other in pairwise(series):
        if one.step == other.step:
            raise InputError(
                other.path,
                found=f"step {one.step:g}, as {one.path}",
                expected="one checkpoint per step",
                hint="name the checkpoints of one run",
            )
    if len(series) < 2:
        only = series[0].path if series else paths[0]
        raise InputError(
            only, found=f"{len(series)} checkpoint" + ("s" if not series else ""), expected="two or more for a trend"
        )
    return series


def _inside(path: str) -> list[str]:
    place = Path(path)
    if not place.is_dir():
        return [path]
    files = [
        file
        for file in sorted(place.iterdir())
        if file.suffix in CHECKPOINT_SUFFIXES and not _SHARD.search(file.name) and _STEP.search(file.stem)
    ]
    folders = [
        folder
        for folder in sorted(place.iterdir())
        if folder.is_dir() and _STEP.search(folder.name) and _has_tensors(folder)
    ]
    if files or folders:
        return [str(each) for each in files or folders]
    if _has_tensors(place):
        return [path]
    raise InputError(path, found="a folder without checkpoints", expected="files or folders named by their steps")


def _has_tensors(folder: Path) -> bool:
    return any(file.suffix in CHECKPOINT_SUFFIXES for file in folder.iterdir())


def _step_of(path: str) -> float:
    """The step in the name, else in the file's metadata, else in the configuration beside it."""
    for name in (Path(path).name, Path(path).parent.name):
        matches = _STEP.findall(name)
        if matches:
            return float(matches[-1])
    from mhcdiag.tensorfiles import open_checkpoint

    checkpoint = open_checkpoint(path)
    for values in (checkpoint.metadata, checkpoint.config or {}):
        for key in _KEYS:
            text = str(values.get(key, ""))
            if text.isdigit():
                return float(text)
    raise InputError(
        path,
        found="no step in its name, its metadata or its configuration",
        expected="a name like step_1000 or checkpoint-1000",
    )
