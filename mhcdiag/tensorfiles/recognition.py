"""What is a checkpoint, and which container opens it: the one place that decides it, for every command.

`gain`, `health` and `inspect` are given checkpoints and open them (`open_checkpoint`). `trend` and `check` are given
checkpoints and logs alike and ask first (`is_checkpoint`, `checkpoints_in`). Both follow from `CONTAINERS` and
`STORES`, so a new container or store is known to all of them.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from mhcdiag.errors import ContainerError
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.tensorfiles.containers import CONTAINERS
from mhcdiag.tensorfiles.interface import Container
from mhcdiag.tensorfiles.names import listed, natural_order
from mhcdiag.tensorfiles.places import Content, Place, is_remote, look, refuse_other_content
from mhcdiag.tensorfiles.shards import is_model_folder, main_snapshot

_EXPECTED = "a .safetensors, torch, GGUF or .npz file, or a directory with one"
_DEEPEST = 4
"""Levels of folders below the one that was named: enough for RUNS/NAME/checkpoints/step_100, and an end where somebody
names a home directory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Located:
    """A place, and the container format that is responsible for it."""

    place: Place
    container: Container

    def open(self, *, key: str | None = None) -> NamedTensors:
        """Read its headers; see `open_checkpoint`."""
        return self.container.open_place(self.place, key=key)


def open_checkpoint(path: str | os.PathLike[str], *, key: str | None = None) -> NamedTensors:
    """Open a checkpoint, whatever its container, reading headers only.

    Parameters
    ----------
    path
        A file, a directory of shards, the index of shards, a model's folder in the cache of Hugging Face, or an
        address (https://, hf://).
        The content decides what it is, not the name.
    key
        Which of several state dicts of a torch file to take; dots lead into nested ones.

    Raises
    ------
    ContainerError
        There is no checkpoint, or it is broken.
    SettingError
        `key` was given for a container that holds one set of tensors.
    """
    return locate(path).open(key=key)


def locate(path: str | os.PathLike[str]) -> Located:
    """Find out what stands at a path, reading no more than first bytes.

    Raises
    ------
    ContainerError
        There is no checkpoint.
    """
    place = main_snapshot(look(os.fspath(path)))
    container = _container_of(place)
    if container is None:
        raise _unrecognised(place)
    return Located(place=place, container=container)


def _container_of(place: Place) -> Container | None:
    return next((container for container in CONTAINERS if container.recognises(place)), None)


def _unrecognised(place: Place) -> ContainerError:
    if place.content is None:
        found = f"a directory without a checkpoint; it holds {listed(place.names) or 'nothing'}"
        return ContainerError(
            place.path, found=found, expected="*.safetensors, an index of shards or pytorch_model.bin"
        )
    refuse_other_content(place.path, place.head, expected=_EXPECTED)
    assert place.content is Content.UNKNOWN
    return ContainerError(
        place.path, found=f"{place.content.value} that begins with {place.head[:16]!r}", expected=_EXPECTED
    )


def is_checkpoint(path: str) -> bool:
    """Whether what a user named is one checkpoint, sound or broken, rather than a log or a folder of several things.

    An address is one by its scheme, a folder by what it holds, a file by its content, or else by its name: an empty
    `model.pt`, or one that is missing, is a checkpoint that went wrong.
    """
    if is_remote(path):
        return True
    try:
        place = look(path)
    except ContainerError:  # missing, or a pipe, which may carry a log and is not opened
        return is_named_as_checkpoint(path)
    if place.content is None:
        return is_model_folder(place) or _container_of(place) is not None
    return _is_certain(place) or is_named_as_checkpoint(path)


def _is_certain(place: Place) -> bool:
    return any(container.is_certain(place) for container in CONTAINERS)


_SUFFIXES = tuple(suffix for container in CONTAINERS for suffix in container.suffixes)


def is_named_as_checkpoint(path: str) -> bool:
    """Whether the name of a file says that it is a checkpoint or belongs to one, whatever it holds."""
    return f"/{os.path.basename(path)}".endswith(_SUFFIXES)


def checkpoints_in(folder: str) -> list[str]:
    """The checkpoints in a folder and below, in natural order: the folder itself where it is one.

    A folder is one where its files say so (an index, `config.json`, numbered shards, ranks); other files are each a
    checkpoint of its own, as a run keeps them.
    """
    return list(_walk(folder, _DEEPEST))


def _walk(folder: str, depth: int) -> Iterator[str]:
    try:
        place = look(folder)
    except ContainerError:
        yield folder  # whoever opens it says why it cannot be read
        return
    # In a folder a file counts by its name: runs are full of archives and pickles of data, options and random states.
    files = [place.beside(name) for name in sorted(place.names, key=natural_order) if is_named_as_checkpoint(name)]
    files = [path for path in files if os.path.isfile(path)]
    is_one = _is_certain(place)
    if is_one or (files and "config.json" in place.names):
        yield folder
    else:
        yield from files
    if is_one and not files:
        return  # its tensors lie in its own subfolders, as Megatron's ranks do
    if depth:
        for below in map(place.beside, sorted(place.names, key=natural_order)):
            if os.path.isdir(below):
                yield from _walk(below, depth - 1)
