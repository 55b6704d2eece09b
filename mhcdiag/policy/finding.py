"""Where the policy of a folder is: its own file, or a table of the project's `pyproject.toml`."""

import tomllib
from pathlib import Path

from mhcdiag.errors import InputError

FILE = "mhcdiag.toml"
PROJECT_FILE = "pyproject.toml"


def find_policy(folder: Path) -> Path | None:
    """Return the nearest policy file at or above a folder; None if there is none.

    In one folder `mhcdiag.toml` wins over `pyproject.toml`, which counts only if it has a table `[tool.mhcdiag]`.
    """
    for one in (folder, *folder.parents):
        if (one / FILE).is_file():
            return one / FILE
        project = one / PROJECT_FILE
        if project.is_file() and _has_table(project):
            return project
    return None


def read_toml(path: Path) -> dict[str, object]:
    """Return the policy's keys as they stand in the file. Raises: InputError with line and column."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except tomllib.TOMLDecodeError as error:
        raise InputError(
            path, found=f"not TOML: {error}", expected="a policy; `mhcdiag check --init` writes one"
        ) from (error)
    except UnicodeDecodeError as error:
        raise InputError(path, found=f"not UTF-8 at byte {error.start}", expected="a policy in TOML") from error
    except OSError as error:
        raise InputError(path, found=error.strerror or str(error), expected="a policy in TOML") from error
    if path.name != PROJECT_FILE:
        return document
    tool = document.get("tool")
    table = tool.get("mhcdiag") if isinstance(tool, dict) else None
    if not isinstance(table, dict):
        raise InputError(path, found="no table [tool.mhcdiag]", expected="a policy")
    return table


def _has_table(path: Path) -> bool:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return False  # somebody else's file and somebody else's error
    if "mhcdiag" not in text:
        return False  # a quick look before parsing: most projects have the file and not the table
    try:
        tool = tomllib.loads(text).get("tool")
    except tomllib.TOMLDecodeError:
        return "[tool.mhcdiag" in text  # a policy that is broken must not be taken for none
    return isinstance(tool, dict) and "mhcdiag" in tool
