"""Which files of a directory on this machine make up one checkpoint."""

import os
from collections.abc import Iterable
from dataclasses import dataclass

from mhcdiag.errors import ContainerError
from mhcdiag.tensorfiles.names import is_one_model, listed, shards_in
from mhcdiag.tensorfiles.places import Place, look, read_object
from mhcdiag.tensorfiles.stores.local import LocalFile


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardIndex:
    """A file that says which shard holds which tensor."""

    source: LocalFile
    """The file itself."""
    shard_of: dict[str, str]
    """File name of the shard by name of the tensor."""

    def shards(self) -> list[str]:
        """File names of all shards, sorted."""
        return sorted(set(self.shard_of.values()))


def find_index(place: Place, *, suffix: str, usual: str) -> str | None:
    """Path of the index of shards at `place`; None where there is none.

    Parameters
    ----------
    place
        A directory, or a file that may itself be the index.
    suffix
        How the names of such indices end: ".safetensors.index.json".
    usual
        The one that wins where a directory has several.

    Raises
    ------
    ContainerError
        Several indices, and none has the usual name.
    """
    if place.content is not None:
        return place.path if place.path.endswith(suffix) else None
    found = [name for name in place.names if name.endswith(suffix)]
    if usual in found:
        return place.beside(usual)
    if len(found) > 1:
        raise ContainerError(
            place.path,
            found=f"{len(found)} indices: {listed(found)}",
            expected=f"one, or {usual}",
            hint="pass the path of one of them",
        )
    return place.beside(found[0]) if found else None


def is_sharded(place: Place, *, suffixes: tuple[str, ...], index: str | None = None) -> bool:
    """Whether a directory holds the shards of one model for certain: an index, or numbered files and no others.

    Parameters
    ----------
    suffixes
        How the names of shards end.
    index
        How the names of indices end; None where this format has none.
    """
    if place.content is not None:
        return False
    if index is not None and any(name.endswith(index) for name in place.names):
        return True
    return is_one_model([name for name in place.names if name.endswith(suffixes)])


def read_index(path: str) -> ShardIndex:
    """Read an index of shards; the shards themselves are not looked at.

    Raises
    ------
    ContainerError
        The file is not such an index, or names a file outside of its own directory.
    """
    source = LocalFile(path)
    return ShardIndex(source=source, shard_of=shards_in(read_object(source), path=path))


def open_shards(place: Place, names: Iterable[str], *, named_by: str) -> list[LocalFile]:
    """The shards beside an index or inside a directory, in the order of `names`.

    Raises
    ------
    ContainerError
        One is missing, or is not a regular file.
    """
    sources = []
    for name in names:
        path = place.beside(name)
        if not os.path.lexists(path):
            raise ContainerError(
                path,
                found=f"no such file, but {named_by} names it",
                hint="download or copy the missing shard",
            )
        sources.append(LocalFile(path))
    return sources


def is_model_folder(place: Place) -> bool:
    """Whether a directory is that of one model in the cache of huggingface_hub, with its snapshots."""
    return {"blobs", "snapshots"} <= set(place.names)


def main_snapshot(place: Place) -> Place:
    """The snapshot of a model's folder: the only one, or that of the branch `main`.

    Anything else is returned as it is.

    Raises
    ------
    ContainerError
        No snapshot, or several of which none is `main`.
    """
    if not is_model_folder(place):
        return place
    snapshots = look(place.beside("snapshots"))
    if len(snapshots.names) == 1:
        return look(snapshots.beside(snapshots.names[0]))
    revision = _main_revision(place)
    if revision not in snapshots.names:
        raise ContainerError(
            place.path,
            found=f"{len(snapshots.names)} snapshots: {listed(snapshots.names) or 'none'}",
            expected="one, or a branch main that names one",
            hint="pass the path of a snapshot",
        )
    return look(snapshots.beside(revision))


def _main_revision(place: Place) -> str:
    if "refs" not in place.names or "main" not in look(place.beside("refs")).names:
        return ""
    reference = LocalFile(place.beside("refs/main"))
    return reference.read(0, min(reference.size, 100)).decode("ascii", "replace").strip()
