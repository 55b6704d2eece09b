"""Which files of a directory make up one checkpoint."""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from mhcdiag.errors import ContainerError
from mhcdiag.tensorfiles.local_file import LocalFile
from mhcdiag.tensorfiles.places import Place, look
from mhcdiag.tensorfiles.strict_json import read_object, shown

_NUMBERED = re.compile(r"(?P<stem>.*)-(?P<number>\d{3,})-of-(?P<count>\d{3,})(?P<suffix>\.\w+)")


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


def read_index(path: str) -> ShardIndex:
    """Read an index of shards; the shards themselves are not looked at.

    Raises
    ------
    ContainerError
        The file is not such an index, or names a file outside of its own directory.
    """
    source = LocalFile(path)
    return ShardIndex(source=source, shard_of=shards_in(read_object(source), path=path))


def shards_in(fields: Mapping[str, Any], *, path: str) -> dict[str, str]:
    """The shard of each tensor as an index has it.

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


def numbered(names: Iterable[str]) -> list[str]:
    """Those of the names that count themselves, as in `model-00002-of-00003.safetensors`."""
    return [name for name in names if _NUMBERED.fullmatch(name)]


def refuse_incomplete(place: Place, names: Iterable[str]) -> None:
    """Raise if files numbered like `model-00002-of-00003.safetensors` are not all there.

    Without an index nothing else tells a checkpoint that lost its last shard from a smaller model.

    Raises
    ------
    ContainerError
        A number is missing.
    """
    refuse_incomplete_names(place.directory, names)


def refuse_incomplete_names(folder: str, names: Iterable[str]) -> None:
    """The same for names alone, in a folder or on a server."""
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


def listed(names: Iterable[str], *, limit: int = 6) -> str:
    """Names in one line, cut off after a few."""
    every = list(names)
    more = f" and {len(every) - limit} more" if len(every) > limit else ""
    return ", ".join(shown(name) for name in every[:limit]) + more


def main_snapshot(place: Place) -> Place:
    """The snapshot of a model's folder: the only one, or that of the branch `main`.

    Anything else is returned as it is.

    Raises
    ------
    ContainerError
        No snapshot, or several of which none is `main`.
    """
    if not {"blobs", "snapshots"} <= set(place.names):
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
