"""Element types of tensors: the spelling of safetensors, widths in bits, and their torch counterparts."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

BITS = {
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E4M3": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2": 8,
    "F8_E5M2FNUZ": 8,
    "F8_E8M0": 8,
    "U16": 16,
    "I16": 16,
    "F16": 16,
    "BF16": 16,
    "U32": 32,
    "I32": 32,
    "F32": 32,
    "U64": 64,
    "I64": 64,
    "F64": 64,
    "C64": 64,
}
"""Width of one element in bits."""

_TORCH_NAMES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2": "float8_e5m2",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
    "U16": "uint16",
    "I16": "int16",
    "F16": "float16",
    "BF16": "bfloat16",
    "U32": "uint32",
    "I32": "int32",
    "F32": "float32",
    "U64": "uint64",
    "I64": "int64",
    "F64": "float64",
    "C64": "complex64",
}
_SPELLINGS = {torch_name: spelling for spelling, torch_name in _TORCH_NAMES.items()}


def torch_dtype(spelling: str) -> "torch.dtype | None":
    """The torch type that holds such elements one by one; None where this torch has none."""
    import torch

    dtype = getattr(torch, _TORCH_NAMES.get(spelling, ""), None)
    return dtype if isinstance(dtype, torch.dtype) else None


def spelling_of(dtype: "torch.dtype") -> str:
    """The spelling of safetensors for a torch type; torch's own in capitals where there is none."""
    name = str(dtype).removeprefix("torch.")
    return _SPELLINGS.get(name, name.upper())


def spelling_named(torch_name: str) -> str:
    """The spelling of safetensors for a torch type by its name, "float32"; in capitals where there is none."""
    return _SPELLINGS.get(torch_name, torch_name.upper())
