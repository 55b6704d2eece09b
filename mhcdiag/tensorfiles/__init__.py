"""From the path of a checkpoint to its named tensors: headers at once, values on demand."""

import os
from dataclasses import dataclass

from mhcdiag.errors import ContainerError
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.tensorfiles.containers import CONTAINERS
from mhcdiag.tensorfiles.interface import Container
from mhcdiag.tensorfiles.places import Content, Place, look, refuse_other_content
from mhcdiag.tensorfiles.shards import listed, main_snapshot
from mhcdiag.tensorfiles.stores.addresses import is_remote

__all__ = ["CONTAINERS", "Located", "locate", "open_checkpoint"]

_EXPECTED = "a .safetensors, torch, GGUF or .npz file, or a directory with one"


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Located:
    """A place, and the container format that is responsible for it."""

    place: Place
    container: Container

    def open(self, *, key: str | None = None) -> NamedTensors:
        """Read its headers; see `open_checkpoint`."""
        return self.container.open_place(self.place, key=key)


def locate(path: str | os.PathLike[str]) -> Located:
    """Find out what stands at a path, reading no more than first bytes.

    Raises
    ------
    ContainerError
        There is no checkpoint.
    """
    name = os.fspath(path)
    place = Place(path=name, content=Content.REMOTE) if is_remote(name) else main_snapshot(look(name))
    for container in CONTAINERS:
        if container.recognises(place):
            return Located(place=place, container=container)
    raise _unrecognised(place)


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
