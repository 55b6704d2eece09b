"""Names that files hold, of tensors and of shards: made clean, counted, and shown in messages.

Whoever wrote the file chose them, so a message shows them escaped and cut, and a path among them may not lead outside.
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from mhcdiag.errors import ContainerError
from mhcdiag.results.wording import counted

SAFETENSORS = ".safetensors"
SAFETENSORS_INDEX = ".safetensors.index.json"
USUAL_INDEX = f"model{SAFETENSORS_INDEX}"
"""The index that `save_pretrained` of transformers writes; it wins where there are several."""

# The writers of shards number them alike: five digits from transformers, which writes safetensors and .bin, and from
# llama-gguf-split of llama.cpp.
_NUMBERED = re.compile(r"(?P<stem>.*)-(?P<number>\d{3,})-of-(?P<count>\d{3,})(?P<suffix>\.\w+)")


def shown(name: str) -> str:
    """A name from a file, fit for one line of a message: quoted, escaped, not endless."""
    return ascii(name if len(name) <= 120 else f"{name[:100]}... ({len(name)} characters)")


def listed(names: Iterable[str], *, limit: int = 6) -> str:
    """Names in one line, cut off after a few."""
    every = list(names)
    more = f" and {len(every) - limit} more" if len(every) > limit else ""
    return ", ".join(shown(name) for name in every[:limit]) + more


def unread_files(beside: Sequence[str]) -> list[str]:
    """In words, what nobody looks at because an index, or the rule of a container, leaves it out."""
    return [f"{counted(len(beside), 'file')} beside it, not part of it: {listed(beside)}"] if beside else []


def natural_order(path: str) -> list[tuple[int, int, str]]:
    """A key for sorting that puts step_2 before step_10."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", path)]


def shown_address(address: str) -> str:
    """An address without user, password, query and fragment, which may hold secrets."""
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


# torch.compile, FSDP and activation checkpointing wrap single blocks too: these stand anywhere in a name.
_ANYWHERE = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
_COMPONENT = re.compile(rf"(?<![^.])(?:{'|'.join(re.escape(part) for part in _ANYWHERE)})")
# DistributedDataParallel wraps the whole model, and "module" is also an honest name for a part of one: this
# goes only where all names have it.
_WHOLE_MODEL = "module."


def clean_names(full_names: Iterable[str], *, path: str) -> dict[str, str]:
    """Names of tensors without `_orig_mod.`, `module.` and the like, in the same order, each with its full name.

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


def numbered(names: Iterable[str]) -> list[str]:
    """Those of the names that count themselves, as in `model-00002-of-00003.safetensors`."""
    return [name for name in names if _NUMBERED.fullmatch(name)]


def is_one_model(names: Sequence[str]) -> bool:
    """Whether the names are those of numbered parts of one model, and nothing else."""
    stems = {name.rpartition("-of-")[0].rpartition("-")[0] for name in names}
    return len(stems) == 1 and numbered(names) == list(names)


def refuse_incomplete(folder: str, names: Iterable[str]) -> None:
    """Raise if files numbered like `model-00002-of-00003.safetensors` are not all there.

    Without an index nothing else tells a checkpoint that lost its last shard from a smaller model.

    Parameters
    ----------
    folder
        Directory or address of the shards, for messages.
    names
        Of all files there, numbered or not.

    Raises
    ------
    ContainerError
        A number is missing.
    """
    present = set(names)
    for match in filter(None, map(_NUMBERED.fullmatch, sorted(present))):
        for number in range(1, int(match["count"]) + 1):
            digits = str(number).zfill(len(match["number"]))
            sibling = f"{match['stem']}-{digits}-of-{match['count']}{match['suffix']}"
            if sibling not in present:
                raise ContainerError(
                    os.path.join(folder, sibling),
                    found=f"no such file, but {shown(match[0])} counts {int(match['count'])}",
                    hint="download or copy the missing shard",
                )


def shards_in(fields: Mapping[str, Any], *, path: str) -> dict[str, str]:
    """The shard of each tensor as an index has it.

    Parameters
    ----------
    fields
        What the index holds.
    path
        The index, for messages.

    Raises
    ------
    ContainerError
        These are not the fields of an index, or it names a file outside of its own directory.
    """
    shard_of = fields.get("weight_map")
    if not isinstance(shard_of, dict) or not shard_of:
        raise ContainerError(path, found="no weight_map", expected="an object from tensor names to shards")
    if set(map(type, shard_of.values())) != {str}:
        tensor, shard = next(item for item in shard_of.items() if not isinstance(item[1], str))
        raise ContainerError(path, found=f"the shard of {shown(tensor)} is {shard!r:.40}", expected="a file name")
    for shard in set(shard_of.values()):
        _refuse_outside(path, shard)
    return shard_of


def _refuse_outside(path: str, shard: str) -> None:
    # Both spellings of paths, so that a file is as safe on any system. Links inside the directory may lead
    # outside: the cache of Hugging Face is made of them.
    pure = PureWindowsPath(shard)
    absolute = pure.drive or pure.root or PurePosixPath(shard).is_absolute()
    if absolute or ".." in pure.parts or not pure.parts or not shard.isprintable():
        raise ContainerError(
            path,
            found=f"the index names the shard {shown(shard)}",
            expected="a file inside the directory of the index",
            hint="do not use this checkpoint unless you know who wrote it",
        )
