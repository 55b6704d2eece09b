"""A policy as TOML text, as `mhcdiag config` shows it."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import fields
from enum import Enum
from pathlib import PurePath
from typing import Any

from mhcdiag.policy.record import Allow, Gate, Policy

DEFAULT = "default"


def policy_tables(policy: Policy | None, *, gates: Sequence[Gate]) -> str:
    """Return inputs, gates and allowed events as TOML, without the keys that are left at their defaults.

    Arguments: policy: of a file, None without one; gates: those that apply.
    """
    blocks = []
    if policy is not None:
        blocks.append(["[inputs]", *_entries(policy.inputs)])
    blocks += [["[[gates]]", *_entries(gate)] for gate in gates]
    blocks += [["[[allow]]", *_entries(one)] for one in (policy.allow if policy else ())]
    return "".join("\n".join(block) + "\n\n" for block in blocks).rstrip("\n") + "\n"


def setting_lines(settings: Sequence[tuple[str, Any, str]]) -> Iterator[str]:
    """Yield one line for each option: `name = value  # where from`; what is set nowhere is a comment.

    Arguments: settings: name, value and source of each.
    """
    for name, value, source in settings:
        if value is None:
            yield f"# {name} is not set"
        else:
            mark = "# " if source == DEFAULT else ""
            yield f"{mark}{name} = {toml_value(value)}  # {source}"


def toml_value(value: Any) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml_value(one) for one in value)}]"
    if isinstance(value, float) and abs(value) < 1e15 and value == int(value):
        return str(int(value))
    if isinstance(value, int | float):
        return repr(value)
    # A JSON string is a TOML basic string, but for one character that TOML wants escaped.
    shown = json.dumps(str(value) if isinstance(value, PurePath) else value, ensure_ascii=False)
    return shown.replace("\x7f", "\\u007f")


def _entries(record: Gate | Allow | Any) -> Iterator[str]:
    for field in fields(record):
        value = getattr(record, field.name)
        if value != field.default:
            yield f"{field.name} = {toml_value(value)}"
