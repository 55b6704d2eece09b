"""Element types of tensors: the spelling of safetensors, widths in bits, and their torch counterparts."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from mhcdiag.errors import ContainerError
from mhcdiag.tensorfiles.strict_json import shown

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


# torch.compile, FSDP and activation checkpointing wrap single blocks too: these stand anywhere in a name.
_ANYWHERE = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
_COMPONENT = re.compile(rf"(?<![^.])(?:{'|'.join(re.escape(part) for part in _ANYWHERE)})")
# DistributedDataParallel wraps the whole model, and "module" is also an honest name for a part of one: this
# goes only where all names have it.
_WHOLE_MODEL = "module."


def clean_names(full_names: Iterable[str], *, path: str) -> dict[str, str]:
    """Names without `_orig_mod.`, `module.` and the like, in the same order, each with its full name.

    Parameters
    ----------
    full_names
        Names as they stand in the files of one checkpoint.
    path
        The checkpoint, for messages.

    Returns
    -------
    dict
        Full name by clean name; the two are the same in most checkpoints.

    Raises
    ------
    ContainerError
        Two tensors would have the same name.
    """
    full_names = list(full_names)
    names = full_names
    # One search through all names: in most checkpoints there is nothing to do.
    joined = "\n".join(names)
    if any(part in joined for part in _ANYWHERE):
        names = [_COMPONENT.sub("", name) for name in names]
    while names and all(name.startswith(_WHOLE_MODEL) for name in names):
        names = [name.removeprefix(_WHOLE_MODEL) for name in names]
    full_name_of: dict[str, str] = {}
    for name, full in zip(names, full_names, strict=True):
        if full_name_of.setdefault(name, full) != full:
            raise ContainerError(
                path,
                found=f"tensors {shown(full_name_of[name])} and {shown(full)} are both {shown(name)} without "
                "the prefixes of wrappers",
                hint="save the state dict of one of them only",
            )
    return full_name_of
