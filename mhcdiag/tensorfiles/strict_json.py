"""JSON objects whose keys are unique, with the position of whatever is wrong."""

import json
from typing import Any

import orjson

from mhcdiag.errors import ContainerError
from mhcdiag.tensorfiles.names import shown

JSON_LIMIT = 100_000_000
"""Longest index or configuration in bytes: an index names each tensor once, as the headers of the shards do, which the
reference implementation limits to this length each."""


class _DuplicateKeyError(ValueError):
    """A key that stands twice in one object."""


def parse_object(raw: bytes | bytearray, *, path: str, what: str, unique: bool = True) -> dict[str, Any]:
    """Parse the text of one JSON object.

    Parameters
    ----------
    raw
        UTF-8, without a byte-order mark.
    path
        The file, for messages.
    what
        What the text is, for messages: "the header", "the file".
    unique
        False leaves it to the caller to find duplicate keys, of which the last would win here.

    Raises
    ------
    ContainerError
        Not UTF-8, not JSON, not an object, nested too deeply, or a key stands twice.
    """
    try:
        value = json.loads(raw.decode(), object_pairs_hook=_unique) if unique else _quickly(raw)
    except UnicodeDecodeError as error:
        raise ContainerError(
            path, found=f"{what} is not UTF-8 at byte {error.start}", expected="JSON in UTF-8"
        ) from error
    except json.JSONDecodeError as error:
        position = f"line {error.lineno} column {error.colno}"
        raise ContainerError(
            path, found=f"{what} is not JSON at {position}: {error.msg}", expected="a JSON object"
        ) from error
    except RecursionError as error:
        raise ContainerError(path, found=f"{what} is JSON nested too deeply", expected="a JSON object") from error
    except ValueError as error:  # also a number of more digits than Python converts
        raise ContainerError(path, found=f"{what} is not usable JSON: {error}") from error
    if not isinstance(value, dict):
        kind = {list: "a list", str: "a string", type(None): "null"}.get(type(value), "a number or truth value")
        raise ContainerError(path, found=f"{what} is {kind}", expected="a JSON object")
    return value


def _quickly(raw: bytes | bytearray) -> Any:
    """By orjson, three times as fast; what it refuses is parsed again for a message with its position."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return json.loads(raw.decode())


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _DuplicateKeyError(f"the key {shown(twice)} stands twice")
    return fields
