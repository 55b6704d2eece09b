"""Names of files that count parallel ranks, and the folders they stand in."""

import itertools
import os
import re
from collections.abc import Mapping

from mhcdiag.errors import ContainerError
from mhcdiag.tensorfiles.local_file import LocalFile
from mhcdiag.tensorfiles.places import Place, look

_POINTER_LIMIT = 200


def follow_pointer(place: Place, pointer: str, *, folder: str = "{}") -> Place:
    """The folder that a text file names, such as DeepSpeed's `latest`; the place itself where there is no such file.

    Parameters
    ----------
    pointer
        Name of the text file.
    folder
        The folder's name around the file's content.

    Raises
    ------
    ContainerError
        It names something that is not a folder beside it.
    """
    if pointer not in place.names:
        return place
    source = LocalFile(place.beside(pointer))
    content = source.read(0, min(source.size, _POINTER_LIMIT)).decode("utf-8", "replace").strip()
    name = folder.format(content) if content.isdigit() else content
    if name not in place.names:
        raise ContainerError(
            source.name, found=f"it names {name!r:.60}, which is not beside it", hint="copy the whole checkpoint folder"
        )
    return look(place.beside(name))


def by_rank(names: tuple[str, ...], pattern: re.Pattern[str]) -> dict[tuple[int, ...], str]:
    """The names that match, by the numbers in them (groups that did not take part count as 0)."""
    found = {}
    for name in names:
        if match := pattern.fullmatch(name):
            found[tuple(int(group or 0) for group in match.groups())] = name
    return found


def refuse_missing_ranks(place: Place, found: Mapping[tuple[int, ...], str], *, what: str) -> None:
    """Raise unless the ranks fill a box from 0 up in every number.

    Raises
    ------
    ContainerError
        A rank is missing.
    """
    sizes = [max(rank[axis] for rank in found) + 1 for axis in range(len(next(iter(found))))]
    for rank in itertools.product(*map(range, sizes)):
        if rank not in found:
            present = os.path.basename(next(iter(found.values())))
            raise ContainerError(
                place.path,
                found=f"{what} {', '.join(map(str, rank))} is missing beside {present!r} ({len(found)} files)",
                expected=f"{' x '.join(map(str, sizes))} files",
                hint="copy the missing files",
            )
