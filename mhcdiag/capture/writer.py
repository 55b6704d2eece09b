"""Captured mappings written piece by piece: every site has its place in the file before the first token is seen."""

import json
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy

from mhcdiag.errors import OutputError

BYTES = 4
"""Of one number: mappings are stored as float32."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MapShape:
    """What the header says."""

    sites: Sequence[str]
    """In the order in which they run."""
    tokens: int
    streams: int
    first_tokens: Sequence[int]
    """Positions of the tokens that begin a sequence."""


class MapWriter:
    """Writes a safetensors file of captured mappings under a temporary name, and renames it when it is whole.

    Raises
    ------
    OutputError
        The file cannot be written.
    """

    def __init__(self, path: Path, shape: MapShape) -> None:
        refuse_place(path)
        self._path = path
        self._shape = shape
        self._row_bytes = shape.streams * shape.streams * BYTES
        header = _header(shape, site_bytes=shape.tokens * self._row_bytes)
        self._data_start = len(header)
        try:
            descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
        except OSError as error:
            raise OutputError(f"{path}: {error.strerror or error}") from error
        self._temporary = Path(temporary)
        self._file: BinaryIO = os.fdopen(descriptor, "wb")
        try:
            self._file.write(header)
            self._file.truncate(self._data_start + len(shape.sites) * shape.tokens * self._row_bytes)
        except OSError as error:
            raise self._given_up(error) from error

    def write(
        self, site: int, first_token: int, maps: "numpy.ndarray[tuple[int, ...], numpy.dtype[numpy.float32]]"
    ) -> None:
        """Write the mappings [token, n, n] of some tokens of one site."""
        row = site * self._shape.tokens + first_token
        try:
            self._file.seek(self._data_start + row * self._row_bytes)
            self._file.write(numpy.ascontiguousarray(maps, dtype="<f4").tobytes())
        except OSError as error:
            raise self._given_up(error) from error

    def _given_up(self, error: OSError) -> OutputError:
        """What to raise, after throwing away what was written."""
        with suppress(OSError):  # it may fail to write what it still holds
            self._file.close()
        self._temporary.unlink(missing_ok=True)
        return OutputError(f"{self._path}: {error.strerror or error}; nothing was written")

    def __enter__(self) -> Self:
        """Nothing more to open."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the file its name, or throw it away where something went wrong."""
        if kind is not None:
            with suppress(OSError):
                self._file.close()
            self._temporary.unlink(missing_ok=True)
            return
        umask = os.umask(0)
        os.umask(umask)
        try:
            self._file.close()
            self._temporary.chmod(0o666 & ~umask)
            self._temporary.replace(self._path)
        except OSError as failure:
            raise self._given_up(failure) from failure


def refuse_place(path: Path) -> None:
    """Say where no file can be put, before hours of work are.

    Raises
    ------
    OutputError
        There is something else than a file, or no directory to put it into.
    """
    if not path.name or path.is_dir():
        raise OutputError(f"{path}: is a directory; expected the name of a file to write")
    if (path.exists() or path.is_symlink()) and not path.is_file():
        raise OutputError(f"{path}: is no ordinary file; expected the name of a file to write")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: {path.parent} is no directory; make it first")


def _header(shape: MapShape, *, site_bytes: int) -> bytes:
    tensors = {
        f"layers.{i}.h_res": {
            "dtype": "F32",
            "shape": [shape.tokens, shape.streams, shape.streams],
            "data_offsets": [i * site_bytes, (i + 1) * site_bytes],
        }
        for i in range(len(shape.sites))
    }
    metadata = {"sites": json.dumps(list(shape.sites)), "first_tokens": json.dumps(list(shape.first_tokens))}
    text = json.dumps({"__metadata__": metadata, **tensors}).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
