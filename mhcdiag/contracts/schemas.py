"""The JSON Schemas (draft 2020-12) of the reports, as files in the package."""

import json
from importlib.resources import files
from typing import Any

COMMANDS = ("check", "gain", "spikes")
"""Commands whose `--json` has a schema."""


def schema(command: str) -> dict[str, Any]:
    """Return the JSON Schema of a command's JSON report.

    Arguments: command: one of `COMMANDS`. Raises: ValueError for any other.
    """
    if command not in COMMANDS:
        raise ValueError(f"no schema for '{command}'; there are {', '.join(COMMANDS)}")
    text = files("mhcdiag.contracts").joinpath("schema", f"{command}.schema.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found
