"""The `config.json` beside the tensors."""

from pathlib import Path
from typing import Any

from mhcdiag.errors import ContainerError
from mhcdiag.tensorfiles.interface import ByteSource
from mhcdiag.tensorfiles.local_file import LocalFile
from mhcdiag.tensorfiles.places import Place, refuse_other_content
from mhcdiag.tensorfiles.strict_json import parse_object

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
