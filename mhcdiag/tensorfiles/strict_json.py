"""JSON objects whose keys are unique, with the position of whatever is wrong."""

import json
from pathlib import Path
from typing import Any

import orjson

from mhcdiag.errors import ContainerError
from mhcdiag.tensorfiles.interface import ByteSource
from mhcdiag.tensorfiles.local_file import LocalFile
from mhcdiag.tensorfiles.places import Place, refuse_other_content


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


def shown(name: str) -> str:
    """A name from a file, fit for one line of a message: quoted, escaped, not endless."""
    return ascii(name if len(name) <= 120 else f"{name[:100]}... ({len(name)} characters)")


_LIMIT = 100_000_000


def config_beside(place: Place) -> LocalFile | None:
    """The file `config.json` in the directory of the tensors; None where there is none.

    Raises
    ------
    ContainerError
        It is not a regular file, or a link to nothing.
    """
    path = place.beside("config.json")
    # A broken link is a download that was not finished, not a model without configuration.
    if not Path(path).exists() and not Path(path).is_symlink():
        return None
    return LocalFile(path)


def read_object(source: ByteSource) -> dict[str, Any]:
    """Read a small file that holds one JSON object: a configuration or the index of shards.

    Raises
    ------
    ContainerError
        The file is empty, a Git-LFS pointer, too large, or not a JSON object with unique keys.
    """
    if source.size > _LIMIT:
        raise ContainerError(source.name, found=f"{source.size} bytes", expected=f"a JSON file of at most {_LIMIT}")
    raw = source.read(0, source.size)
    refuse_other_content(source.name, bytes(raw[:64]), expected="a JSON object")
    return parse_object(raw, path=source.name, what="the file")
