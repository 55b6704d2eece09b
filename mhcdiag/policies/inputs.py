"""What a check looks at: the paths of the command line, or the patterns of the policy."""

import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mhcdiag.errors import MhcdiagError
from mhcdiag.policies.policy import Inputs
from mhcdiag.results.check import Family

TENSOR_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".gguf", ".npz")
_INDEX = re.compile(r".*\.(safetensors|bin)\.index\.json|\.metadata")
_REMOTE = re.compile(r"https?://|hf://")
_DEEPEST = 4
"""Levels of folders below a named one in which checkpoints are looked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Input:
    """One input of a check."""

    family: Family
    """What it is."""
    path: str
    """File or folder, relative to the working directory where the policy is below it."""
    error: str = ""
    """Why there is nothing at the path or pattern; empty where there is."""


def from_patterns(inputs: Inputs, folder: Path) -> list[Input]:
    """Return what the policy's patterns match, in natural order; one that matches nothing is an entry with an error.

    Parameters
    ----------
    inputs
        Of the policy.
    folder
        Of its file, which patterns are relative to.
    """
    found: list[Input] = []
    for family, patterns in ((Family.CHECKPOINT, inputs.checkpoints), (Family.LOG, inputs.logs)):
        for pattern in patterns:
            if _REMOTE.match(pattern):
                found.append(Input(family=family, path=pattern))
                continue
            matched = sorted(glob.glob(os.path.join(glob.escape(str(folder)), pattern), recursive=True), key=_natural)
            if not matched:
                error = f"the pattern '{pattern}' matches nothing in {folder}; expected {family}s, mend [inputs]"
                found.append(Input(family=family, path=pattern, error=error))
            for path in matched:
                found += [Input(family=family, path=_near(path))] if family is Family.CHECKPOINT else _logs(_near(path))
    return list(dict.fromkeys(found))


def from_paths(paths: Sequence[str]) -> list[Input]:
    """Return the checkpoints and logs at the paths: by the name of a file, and by what a folder holds."""
    found: list[Input] = []
    for path in paths:
        if _REMOTE.match(path) or (not os.path.isdir(path) and _is_tensors(path)):
            found.append(Input(family=Family.CHECKPOINT, path=path))
        elif os.path.isdir(path):
            found += _in_folder(path)
        else:
            found.append(Input(family=Family.LOG, path=path))
    return list(dict.fromkeys(found))


def _in_folder(path: str) -> list[Input]:
    checkpoints = [Input(family=Family.CHECKPOINT, path=one) for one in _checkpoints(path, _DEEPEST)]
    logs = [one for one in _logs(path) if not one.error]
    if checkpoints or logs:
        return [*checkpoints, *logs]
    error = f"{path}: a folder with neither checkpoint nor log; expected one of them somewhere in it"
    return [Input(family=Family.LOG, path=path, error=error)]


def _checkpoints(folder: str, depth: int) -> Iterator[str]:
    """Yield a folder that holds shards, else the files and folders in it that are checkpoints of their own."""
    entries = sorted(os.scandir(folder), key=lambda entry: _natural(entry.name))
    files = [entry for entry in entries if entry.is_file() and _is_tensors(entry.name)]
    names = {entry.name for entry in entries}
    if files and ("config.json" in names or any(_INDEX.fullmatch(name) for name in names)):
        yield folder
    else:
        yield from (entry.path for entry in files)
    for entry in entries:
        if depth and entry.is_dir() and not entry.name.startswith("."):
            yield from _checkpoints(entry.path, depth - 1)


def _logs(path: str) -> list[Input]:
    from mhcdiag.runlogs import iter_logs

    try:
        return [Input(family=Family.LOG, path=one) for one in iter_logs(path)]
    except MhcdiagError as error:
        return [Input(family=Family.LOG, path=path, error=str(error))]


def _is_tensors(name: str) -> bool:
    return name.endswith(TENSOR_SUFFIXES) or _INDEX.fullmatch(os.path.basename(name)) is not None


def _near(path: str) -> str:
    """The path as a user in the working directory would type it."""
    relative = os.path.relpath(path)
    return os.path.abspath(path) if relative.startswith("..") else relative


def _natural(path: str) -> list[tuple[int, int, str]]:
    """A key that puts step_2 before step_10."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", path)]
