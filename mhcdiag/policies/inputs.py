"""What a check looks at: the paths of the command line, or the patterns of the policy."""

import glob
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mhcdiag.errors import MhcdiagError
from mhcdiag.policies.policy import Inputs
from mhcdiag.results.check import Family
from mhcdiag.tensorfiles import checkpoints_in, is_checkpoint, is_remote, natural_order


@dataclass(frozen=True, kw_only=True, slots=True)
class Input:
    """One input of a check."""

    family: Family
    """What it is."""
    path: str
    """File or folder, relative to the working directory where the policy is below it."""
    error: str = ""
    """Why there is nothing at the path or pattern; empty where there is."""
    found: bool = field(default=False, compare=False)
    """Whether it was found in a folder, and not named."""


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
            if is_remote(pattern):
                found.append(Input(family=family, path=pattern))
                continue
            matched = sorted(
                glob.glob(os.path.join(glob.escape(str(folder)), pattern), recursive=True), key=natural_order
            )
            if not matched:
                error = f"the pattern '{pattern}' matches nothing in {folder}; expected {family}s, mend [inputs]"
                found.append(Input(family=family, path=pattern, error=error))
            for path in matched:
                found += [Input(family=family, path=_near(path))] if family is Family.CHECKPOINT else _logs(_near(path))
    return list(dict.fromkeys(found))


def from_paths(paths: Sequence[str]) -> list[Input]:
    """Return the checkpoints and logs at the paths: by what a file is, and by what a folder holds."""
    found: list[Input] = []
    for path in paths:
        if os.path.isdir(path):
            found += _in_folder(path)
        elif is_checkpoint(path):
            found.append(Input(family=Family.CHECKPOINT, path=path))
        else:
            found.append(Input(family=Family.LOG, path=path))
    return list(dict.fromkeys(found))


def _in_folder(path: str) -> list[Input]:
    checkpoints = [Input(family=Family.CHECKPOINT, path=one) for one in checkpoints_in(path)]
    logs = [one for one in _logs(path) if not one.error]
    if checkpoints or logs:
        return [*checkpoints, *logs]
    error = f"{path}: a folder with neither checkpoint nor log; expected one of them somewhere in it"
    return [Input(family=Family.LOG, path=path, error=error)]


def _logs(path: str) -> list[Input]:
    from mhcdiag.runlogs import iter_logs

    try:
        return [Input(family=Family.LOG, path=one, found=one != path) for one in iter_logs(path)]
    except MhcdiagError as error:
        return [Input(family=Family.LOG, path=path, error=str(error))]


def _near(path: str) -> str:
    """The path as a user in the working directory would type it."""
    relative = os.path.relpath(path)
    return os.path.abspath(path) if relative.startswith("..") else relative


WHOLE_FILE = 1 << 28
"""Largest file in bytes that is hashed: reading a large checkpoint for its hash would take longer than all the rest."""


def sha256_of(path: str) -> str:
    """Return the hash of a file's bytes; empty for folders, addresses and large files."""
    if not os.path.isfile(path) or os.path.getsize(path) > WHOLE_FILE:
        return ""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
