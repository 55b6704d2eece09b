"""Files built byte by byte, sound and broken, without the libraries that they are tested against."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SOUND = {
    "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
    "b": {"dtype": "U8", "shape": [5], "data_offsets": [24, 29]},
}
"""Header of a sound file of two tensors; its data are 29 bytes."""


def raw_file(header: bytes, *, data: bytes = bytes(29), length: int | None = None) -> bytes:
    """A file with this text as header; `length` is what the first 8 bytes claim."""
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def file_of(fields: Mapping[str, Any], *, data: bytes = bytes(29)) -> bytes:
    """A file with these fields as header."""
    return raw_file(json.dumps(fields).encode(), data=data)


def with_field(**changed: Any) -> bytes:
    """The sound file with fields of its tensor `a` changed."""
    return file_of(SOUND | {"a": SOUND["a"] | changed})


def with_tensors(directory: Path, name: str, *tensors: str) -> Path:
    """A safetensors file in `directory` that holds one float, its position, under each name."""
    fields = {
        tensor: {"dtype": "F32", "shape": [], "data_offsets": [4 * place, 4 * place + 4]}
        for place, tensor in enumerate(tensors)
    }
    path = directory / name
    path.write_bytes(file_of(fields, data=struct.pack(f"<{len(tensors)}f", *range(len(tensors)))))
    return path


def index_of(directory: Path, name: str, weight_map: Any) -> Path:
    """An index of shards in `directory`."""
    path = directory / name
    path.write_text(json.dumps({"metadata": {"total_size": 8}, "weight_map": weight_map}))
    return path
