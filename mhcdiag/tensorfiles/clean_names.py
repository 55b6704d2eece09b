"""Names without the components that training wrappers put into them."""

import re
from collections.abc import Iterable

from mhcdiag.errors import ContainerError
from mhcdiag.tensorfiles.strict_json import shown

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
