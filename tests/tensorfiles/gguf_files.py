"""GGUF files built byte by byte, without the package that reads them."""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

F32, F16 = 0, 1


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def value_of(value: Any) -> bytes:
    match value:
        case bool():
            return struct.pack("<I?", 7, value)
        case int():
            return struct.pack("<II", 4, value)
        case float():
            return struct.pack("<If", 6, value)
        case str():
            return struct.pack("<I", 8) + text(value)
        case [str(), *_]:
            return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(text, value))
        case _:
            return struct.pack("<IIQ", 9, 4, len(value)) + struct.pack(f"<{len(value)}I", *value)


def gguf_bytes(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, Any], *, version: int = 3) -> bytes:
    """A file of F32 (float32, float64) and F16 tensors, aligned to 32 bytes."""
    header = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata))
    for key, value in metadata.items():
        header += text(key) + value_of(value)
    data = b""
    for name, array in tensors.items():
        stored = array if array.dtype == np.float16 else array.astype(np.float32)
        data += bytes(-len(data) % 32)
        header += text(name) + struct.pack("<I", stored.ndim)
        header += struct.pack(f"<{stored.ndim}Q", *reversed(stored.shape))
        header += struct.pack("<IQ", F16 if stored.dtype == np.float16 else F32, len(data))
        data += stored.tobytes()
    return header + bytes(-len(header) % 32) + data


def write_gguf(path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> Path:
    """The same as a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gguf_bytes(tensors, metadata))
    return path
