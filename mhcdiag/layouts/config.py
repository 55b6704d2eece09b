"""Values from `config.json`, checked: a wrong type there must not become a wrong gain."""

from collections.abc import Mapping
from typing import Any

from mhcdiag.errors import LayoutError
from mhcdiag.namedtensors import NamedTensors


def section(checkpoint: NamedTensors, *nested: str) -> Mapping[str, Any]:
    """The configuration, or its first nested section of one of these names; empty where there is none."""
    config = checkpoint.config or {}
    for name in nested:
        if isinstance(config.get(name), Mapping):
            return dict(config[name])
    return config


def integer(checkpoint: NamedTensors, config: Mapping[str, Any], *keys: str, at_least: int = 1) -> int | None:
    """The first of the keys that is set, as a whole number; None where none is."""
    for key in keys:
        value = config.get(key)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
            raise _wrong(checkpoint, key, value, f"a whole number of at least {at_least}")
        return value
    return None


def positive(checkpoint: NamedTensors, config: Mapping[str, Any], *keys: str) -> float | None:
    """The first of the keys that is set, as a number not below 0; None where none is."""
    for key in keys:
        value = config.get(key)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise _wrong(checkpoint, key, value, "a finite number of at least 0")
        return float(value)
    return None


def _wrong(checkpoint: NamedTensors, key: str, value: object, expected: str) -> LayoutError:
    return LayoutError(
        checkpoint.path, found=f"config.json says {key} = {value!r}", expected=expected, hint="correct it"
    )
