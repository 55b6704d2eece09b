"""Tensors of one model that several processes saved: tensor-parallel ranks side by side, pipeline stages one by one.

Mixing parameters are the same on every tensor-parallel rank, so the first rank's are taken, and the others are held
against them when a tensor is read. Pipeline stages number their layers from 0: they are numbered on here.
"""

import itertools
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mhcdiag.errors import ContainerError
from mhcdiag.namedtensors import NamedTensors, TensorInfo, row_range
from mhcdiag.results.wording import counted
from mhcdiag.tensorfiles.names import listed, shown
from mhcdiag.tensorfiles.places import Place, look
from mhcdiag.tensorfiles.stores.local import LocalFile
from mhcdiag.tensorfiles.streams import Stream, further_in, streams_of, unread_in

if TYPE_CHECKING:
    from torch import Tensor

_LAYER = re.compile(r"(?P<before>(?:^|\.)(?:layers|h|blocks)\.)(?P<number>\d+)(?=\.)")
# Its layers are not the trunk's and keep their numbers.
_BESIDE_THE_TRUNK = re.compile(r"(?:^|\.)mtp\.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One pipeline stage."""

    ranks: Sequence[NamedTensors]
    """Its tensor-parallel ranks."""


class RankedTensors:
    """A `NamedTensors` over the stages of one model.

    Parameters
    ----------
    path
        The checkpoint as the user named it.
    stages
        In the order in which a signal passes them.

    Raises
    ------
    ContainerError
        Two stages have a tensor of the same name that is no layer's.
    """

    def __init__(self, path: str, stages: Sequence[Stage]) -> None:
        self.path = path
        self.config: Mapping[str, Any] | None = stages[0].ranks[0].config
        self.metadata: Mapping[str, str] = {}
        self._files = list({id(rank): rank for stage in stages for rank in stage.ranks}.values())
        self._stages = stages
        self._copies: dict[str, list[tuple[Stage, str]]] = {}
        self._home: dict[str, tuple[Stage, str]] = {}
        first_layer = 0
        for stage in stages:
            names = list(stage.ranks[0].tensors)
            for name in names:
                self._add(_renumbered(name, first_layer), stage, name)
            first_layer += 1 + max((n for n in map(_layer_of, names) if n is not None), default=-1)

    def _add(self, name: str, stage: Stage, full_name: str) -> None:
        if name in self._home and _layer_of(name) is not None:
            raise ContainerError(
                self.path,
                found=f"tensor {shown(name)} stands in two pipeline stages",
                expected="stages that number their layers from 0",
                hint="save the checkpoint without pipeline parallelism",
            )
        self._home.setdefault(name, (stage, full_name))  # tied embeddings stand in the first and the last stage
        self._copies.setdefault(name, []).append((stage, full_name))

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """All tensors, layers numbered through."""
        return {name: self._info(name) for name in self._home}

    def _info(self, name: str) -> TensorInfo:
        stage, full_name = self._home[name]
        info = stage.ranks[0].tensors[full_name]
        return TensorInfo(name, info.dtype, info.shape)

    @property
    def bytes_total(self) -> int:
        """Size of all files."""
        return sum(file.bytes_total for file in self._files)

    @property
    def bytes_read(self) -> int:
        """Bytes read so far from all files."""
        return sum(file.bytes_read for file in self._files)

    def read(self, name: str, *, rows: slice | None = None) -> "Tensor":
        """One tensor, the same on every tensor-parallel rank.

        Raises
        ------
        ContainerError
            The ranks hold different values: the tensor is split among them.
        """
        import torch

        stage, full_name = self._home[name]
        # All of them: a tensor that is split has the same shape on every rank, and nothing else tells it from a copy.
        values = [rank.read(full_name) for rank in stage.ranks]
        if any(not torch.equal(values[0], other) for other in values[1:]):
            raise ContainerError(
                self.path,
                found=f"tensor {shown(name)} differs between {len(values)} tensor-parallel ranks",
                expected="the same values on every rank",
                hint="merge the ranks first",
            )
        if rows is None:
            return values[0]
        chosen = row_range(tuple(values[0].shape), rows)
        return values[0][chosen.start : chosen.stop].clone()

    def streams(self, name: str) -> list[Stream]:
        """What every rank saved of one tensor: slices of it, or copies.

        Raises
        ------
        ContainerError
            A rank lacks it, or its values cannot be read.
        """
        found: list[Stream] = []
        if name not in self._copies:
            rank, behind = self._further()[name]
            return [replace(one, name=name) for one in streams_of(rank, behind)]
        for part, (stage, full_name) in enumerate(self._copies[name]):
            for number, rank in enumerate(stage.ranks):
                if full_name not in rank.tensors:
                    raise ContainerError(self.path, found=f"tensor {shown(name)} is missing in rank {number}")
                place = [f"copy {part}"] if part else []
                place += [f"rank {number}"] if len(stage.ranks) > 1 else []
                shown_as = f"{name} ({', '.join(place)})" if place else name
                found += (replace(one, name=shown_as) for one in streams_of(rank, full_name))
        return found

    @property
    def further(self) -> list[str]:
        """What the files of all ranks hold beside the model, each by its name and the number of its file."""
        return list(self._further())

    def _further(self) -> dict[str, tuple[NamedTensors, str]]:
        return {
            f"{name} (file {number})": (file, name)
            for number, file in enumerate(self._files)
            for name in further_in(file)
        }

    @property
    def unread(self) -> list[str]:
        """What is not looked at, and what the first rank of a stage lacks."""
        found = [words for file in self._files for words in unread_in(file)]
        for stage in self._stages:
            first, *others = stage.ranks
            if lost := {name for rank in others for name in rank.tensors if name not in first.tensors}:
                found.append(f"{counted(len(lost), 'tensor')} that the first rank lacks: {listed(sorted(lost))}")
        return found


def _layer_of(name: str) -> int | None:
    match = _LAYER.search(name)
    return None if match is None or _BESIDE_THE_TRUNK.search(name) else int(match["number"])


def _renumbered(name: str, first: int) -> str:
    if _layer_of(name) is None:
        return name
    return _LAYER.sub(lambda match: f"{match['before']}{int(match['number']) + first}", name, count=1)


_POINTER_LIMIT = 200
"""Bytes of a pointer that are read: it holds one name, and a large file under its name holds something else."""


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
