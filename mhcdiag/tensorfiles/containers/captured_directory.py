"""Container: a directory of captured mappings, each file some of the tokens; together they are one set of tokens."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mhcdiag.errors import ContainerError
from mhcdiag.namedtensors import CAPTURED_MAP, NamedTensors, TensorInfo, row_range, tie_of
from mhcdiag.results.wording import counted
from mhcdiag.tensorfiles.interface import Container, refuse_key
from mhcdiag.tensorfiles.names import listed
from mhcdiag.tensorfiles.places import Content, Place, look
from mhcdiag.tensorfiles.safetensors_header import read_header
from mhcdiag.tensorfiles.safetensors_tensors import SafetensorsTensors
from mhcdiag.tensorfiles.stores.local import LocalFile
from mhcdiag.tensorfiles.streams import Stream

if TYPE_CHECKING:
    from torch import Tensor


_SUFFIX = ".safetensors"


def _recognises(place: Place) -> bool:
    """A directory with several safetensors files and no index, the first of which holds captured mappings."""
    names = _files(place)
    if len(names) < 2 or any(name.endswith(".index.json") for name in place.names):
        return False
    first = place.beside(names[0])
    if look(first).content is not Content.SAFETENSORS:
        return False
    try:
        return any(CAPTURED_MAP.match(name) for name in read_header(LocalFile(first)).rows)
    except ContainerError:
        return False  # a shard like any other: whoever opens it says what is wrong


def _open(place: Place, *, key: str | None) -> NamedTensors:
    """Read the headers of all files.

    Raises
    ------
    ContainerError
        A file is broken, or its sites or streams are not those of the first.
    SettingError
        A key was given: such files have one set of tensors.
    """
    refuse_key(place, key)
    files = [SafetensorsTensors(path, shards={path: LocalFile(path)}) for path in map(place.beside, _files(place))]
    return JoinedTokens(place.path, files)


def _files(place: Place) -> list[str]:
    return [name for name in place.names if name.endswith(_SUFFIX)] if place.content is None else []


class JoinedTokens:
    """A `NamedTensors` whose tensors are those of several files, one behind the other along the first axis.

    Raises
    ------
    ContainerError
        The files do not hold the same sites and streams.
    """

    def __init__(self, path: str, files: Sequence[SafetensorsTensors]) -> None:
        self.path = path
        self.config: Mapping[str, Any] | None = None
        self._files = tuple(files)
        for other in files[1:]:
            _refuse_difference(files[0], other)
        lengths = [_tokens(file) for file in files]
        self._starts = [sum(lengths[:i]) for i in range(len(files) + 1)]
        self.metadata = self._joined_metadata()

    def _joined_metadata(self) -> dict[str, str]:
        """The first file's, with the positions of all first tokens; a checkpoint is named where all name the same."""
        positions: list[int] = []
        for start, file in zip(self._starts, self._files, strict=False):
            try:
                positions += [start + int(position) for position in json.loads(file.metadata.get("first_tokens", "[]"))]
            except (ValueError, TypeError) as error:
                raise ContainerError(
                    file.path, found="metadata key 'first_tokens' is no list of positions", expected="a JSON list"
                ) from error
        ties = {tie_of(file.metadata) for file in self._files}
        own = {"tied_to": ties.pop() if len(ties) == 1 else ""}
        own |= {"first_tokens": json.dumps(positions)} if positions else {}
        # A step of one file would name a checkpoint for all.
        shared = {key: value for key, value in self._files[0].metadata.items() if key != "step"}
        return shared | own

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """Mappings, as long as those of all files together; what else was captured, of the first file."""
        return _Lengthened(self._files[0].tensors, self._starts[-1])

    @property
    def bytes_total(self) -> int:
        """Size of all files."""
        return sum(file.bytes_total for file in self._files)

    @property
    def bytes_read(self) -> int:
        """Bytes read so far from all files."""
        return sum(file.bytes_read for file in self._files)

    def read(self, name: str, *, rows: slice | None = None) -> "Tensor":
        """One tensor, or a range of its first axis, from the files that hold it."""
        import torch

        if not CAPTURED_MAP.match(name):
            return self._files[0].read(name, rows=rows)
        chosen = row_range(self.tensors[name].shape, slice(None) if rows is None else rows)
        parts = []
        for start, stop, file in zip(self._starts, self._starts[1:], self._files, strict=False):
            first, last = max(chosen.start, start), min(chosen.stop, stop)
            if first < last:
                parts.append(file.read(name, rows=slice(first - start, last - start)))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def streams(self, name: str) -> list[Stream]:
        """What every file holds under this name."""
        return [
            replace(one, name=f"{name} ({os.path.basename(file.path)})")
            for file in self._files
            if name in file.tensors
            for one in file.streams(name)
        ]

    further = ()

    @property
    def unread(self) -> list[str]:
        """Tensors that the first file lacks."""
        lost = {name for file in self._files for name in file.tensors if name not in self._files[0].tensors}
        return [f"{counted(len(lost), 'tensor')} that the first file has not: {listed(sorted(lost))}"] if lost else []


class _Lengthened(Mapping[str, TensorInfo]):
    def __init__(self, tensors: Mapping[str, TensorInfo], rows: int) -> None:
        self._tensors = tensors
        self._rows = rows

    def __getitem__(self, name: str) -> TensorInfo:
        info = self._tensors[name]
        if not CAPTURED_MAP.match(name):
            return info
        return TensorInfo(info.name, info.dtype, (self._rows, *info.shape[1:]))

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def _tokens(file: SafetensorsTensors) -> int:
    """Number of tokens of one file, which is that of each of its mappings: activations may be kept of fewer."""
    found = {name: info.shape[:1] for name, info in file.tensors.items() if CAPTURED_MAP.match(name)}
    first, count = next(iter(found.items()))
    for name, other in found.items():
        if other != count or not count:
            raise ContainerError(
                file.path,
                found=f"{name} of {list(other)} tokens, {first} of {list(count)}",
                expected="mappings of the same tokens at all sites",
            )
    return count[0]


def _refuse_difference(first: SafetensorsTensors, other: SafetensorsTensors) -> None:
    """Raise unless both files hold the same mappings of the same streams, one for each token."""
    mine, theirs = (
        {name: info.shape[1:] for name, info in file.tensors.items() if CAPTURED_MAP.match(name)}
        for file in (first, other)
    )
    expected = f"the {len(mine)} sites of {first.path}: files of one directory are tokens of one model"
    hint = "pass the files one by one, if they are different models"
    if mine.keys() != theirs.keys() or first.metadata.get("sites") != other.metadata.get("sites"):
        found = f"{len(theirs)} sites" if len(mine) != len(theirs) else "other sites"
        raise ContainerError(other.path, found=found, expected=expected, hint=hint)
    for name, shape in theirs.items():
        if shape != mine[name] or len(shape) != 2:
            raise ContainerError(
                other.path,
                found=f"tensor {name} has mappings of shape {list(shape)}",
                expected=f"{list(mine[name])} as in {first.path}, one for each token",
                hint=hint,
            )


CAPTURED_DIRECTORY = Container(
    title="directory of captured mappings",
    looks="several `*.safetensors` with `layers.{i}.h_res` and no index: together one set of tokens",
    recognises=_recognises,
    open_place=_open,
)
