"""Results as JSON documents: the keys that scripts, policies and baselines rely on.

A result becomes a tree of dicts, lists, strings and numbers here; reports write that tree, baselines are read from it.
The schemas of whole reports stand beside it, as they are shipped.
"""

import json
from importlib.resources import files
from typing import Any

COMMANDS = ("gain", "spikes", "health", "trend", "check")
"""Commands whose JSON reports have a schema."""


def schema(command: str) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a command's report.

    Arguments: command: one of `COMMANDS`.
    """
    found: dict[str, Any] = json.loads((files(__package__) / "schema" / f"{command}.schema.json").read_text("utf-8"))
    return found
