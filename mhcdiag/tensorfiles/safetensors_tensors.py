"""Named tensors over the headers of one or more safetensors files."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mhcdiag.errors import ContainerError
from mhcdiag.namedtensors import TensorInfo, row_range
from mhcdiag.results.wording import counted
from mhcdiag.tensorfiles.element_types import BITS, torch_dtype
from mhcdiag.tensorfiles.names import clean_names, shown, unread_files
from mhcdiag.tensorfiles.safetensors_header import Header, read_header
from mhcdiag.tensorfiles.stores.interface import ByteSource
from mhcdiag.tensorfiles.streams import Block, Stream, file_reader

if TYPE_CHECKING:
    from torch import Tensor


class SafetensorsTensors:
    """A `NamedTensors` that has read headers and reads the bytes of a tensor when asked for it.

    Parameters
    ----------
    path
        The checkpoint as the user named it.
    shards
        Its files by the names that the index uses, in the order in which tensors are listed.
    shard_of
        The index: shard by name of the tensor, as in the files; None where there is none.
    config
        What `config.json` holds.
    others
        Files already read that belong to the checkpoint: the index, `config.json`.
    beside
        Names of further files in the same folder that could hold tensors and are no part of the checkpoint.

    Raises
    ------
    ContainerError
        A header is wrong, a tensor stands in two shards, or the index names one that is not there.
    """

    def __init__(
        self,
        path: str,
        *,
        shards: Mapping[str, ByteSource],
        shard_of: Mapping[str, str] | None = None,
        config: Mapping[str, Any] | None = None,
        others: Sequence[ByteSource] = (),
        beside: Sequence[str] = (),
    ) -> None:
        self.path = path
        self.config = config
        self.metadata: dict[str, str] = {}
        self.unread = unread_files(beside)
        self._sources = [*shards.values(), *others]
        self._header_of: dict[str, Header] = {}
        for shard, source in shards.items():
            header = read_header(source)
            # Writers repeat the same metadata in each shard; where they differ, the first has the word.
            self.metadata = header.metadata | self.metadata
            repeated = _add_shard(self._header_of, header, shard=shard, shard_of=shard_of)
            if repeated:
                self.unread.append(f"{counted(repeated, 'tensor')} of {shard} that the index places in another shard")
        _refuse_missing(path, self._header_of, shard_of or {})
        self._full_name_of = clean_names(self._header_of, path=path)

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """All tensors by name without the prefixes of wrappers; the records are made when asked for."""
        return _Infos(self._header_of, self._full_name_of)

    @property
    def bytes_total(self) -> int:
        """Size of all shards, the index and `config.json`."""
        return sum(source.size for source in self._sources)

    @property
    def bytes_read(self) -> int:
        """Bytes read so far from these files."""
        return sum(source.bytes_read for source in self._sources)

    def span(self, name: str) -> "Span":
        """Where the bytes of one tensor stand."""
        full_name = self._full_name_of[name]
        header = self._header_of[full_name]
        row = header.rows[full_name]
        start = header.data_start + header.begins[row]
        return Span(file=header.source.name, start=start, length=header.ends[row] - header.begins[row])

    def read(self, name: str, *, rows: slice | None = None) -> "Tensor":
        """One tensor, or a range of its first axis, of which no other byte is read.

        Raises
        ------
        KeyError
            There is no tensor of this name.
        ContainerError
            The bytes are missing, or their dtype is one that torch cannot hold.
        """
        import torch

        full_name = self._full_name_of[name]
        header = self._header_of[full_name]
        row = header.rows[full_name]
        dtype = torch_dtype(header.dtypes[row])
        if dtype is None:
            raise _cannot_hold(header, full_name, f"dtype {shown(header.dtypes[row])}")
        shape, begin, end = header.shapes[row], header.begins[row], header.ends[row]
        if rows is not None:
            chosen = row_range(shape, rows)
            row_bytes = (end - begin) // max(shape[0], 1)
            begin, end = begin + chosen.start * row_bytes, begin + chosen.stop * row_bytes
            shape = (len(chosen), *shape[1:])
        data = header.source.read(header.data_start + begin, end - begin)
        try:
            # frombuffer refuses an empty buffer
            flat = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
            return flat.reshape(shape)
        except (RuntimeError, OverflowError, TypeError) as error:
            raise _cannot_hold(header, full_name, f"shape {list(shape)!r:.60}") from error

    further = ()
    """Such files hold a model alone."""

    def streams(self, name: str) -> list[Stream]:
        """The bytes of one tensor, piece by piece.

        Raises
        ------
        ContainerError
            Its element type is not known here.
        """
        full_name = self._full_name_of[name]
        header = self._header_of[full_name]
        row = header.rows[full_name]
        dtype, shape, begin = header.dtypes[row], header.shapes[row], header.begins[row]
        if dtype not in BITS:
            raise _cannot_hold(header, full_name, f"dtype {shown(dtype)}")
        read = file_reader(header.source, start=header.data_start + begin, dtype=dtype)
        if dtype == "C64":  # real and imaginary parts along a further axis
            read, shape = file_reader(header.source, start=header.data_start + begin, dtype="F32"), (*shape, 2)
        block = Block(offsets=(0,) * len(shape), shape=shape, read=read)
        size = header.ends[row] - begin
        as_read = "F32" if dtype == "C64" else dtype
        return [Stream(name=name, dtype=as_read, stored=dtype, shape=shape, bytes=size, blocks=(block,))]


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """The bytes of one tensor."""

    file: str
    """Name of the file."""
    start: int
    """First byte."""
    length: int
    """Number of bytes."""


class _Infos(Mapping[str, TensorInfo]):
    """Columns of headers seen as `TensorInfo`."""

    __slots__ = ("_full_name_of", "_header_of")

    def __init__(self, header_of: dict[str, Header], full_name_of: dict[str, str]) -> None:
        self._header_of = header_of
        self._full_name_of = full_name_of

    def __getitem__(self, name: str) -> TensorInfo:
        full_name = self._full_name_of[name]
        header = self._header_of[full_name]
        row = header.rows[full_name]
        return TensorInfo(full_name, header.dtypes[row], header.shapes[row])

    def __iter__(self) -> Iterator[str]:
        return iter(self._full_name_of)

    def __len__(self) -> int:
        return len(self._full_name_of)

    def __contains__(self, name: object) -> bool:
        return name in self._full_name_of


def _add_shard(header_of: dict[str, Header], header: Header, *, shard: str, shard_of: Mapping[str, str] | None) -> int:
    """Take the tensors of a shard; returns how many it repeats that stand elsewhere."""
    names = list(header.rows)
    if shard_of is not None and not set(map(shard_of.get, names)) <= {shard, None}:
        # A shard may repeat a tensor that the index places elsewhere; one that it does not mention is kept.
        names = [name for name in names if shard_of.get(name, shard) == shard]
    if not header_of.keys().isdisjoint(names):
        name = next(name for name in names if name in header_of)
        raise ContainerError(
            header.source.name,
            found=f"tensor {shown(name)} stands here and in {header_of[name].source.name}",
            expected="each tensor in one shard",
            hint="pass one file, if they are different checkpoints",
        )
    header_of.update(dict.fromkeys(names, header))
    return len(header.rows) - len(names)


def _refuse_missing(path: str, header_of: Mapping[str, Header], shard_of: Mapping[str, str]) -> None:
    if not shard_of.keys() <= header_of.keys():
        name = min(shard_of.keys() - header_of.keys())
        raise ContainerError(
            path,
            found=f"the index places tensor {shown(name)} in {shown(shard_of[name])}, whose header lacks it",
            hint="index and shards come from different checkpoints: download them again",
        )


def _cannot_hold(header: Header, name: str, what: str) -> ContainerError:
    return ContainerError(
        header.source.name,
        found=f"tensor {shown(name)} has {what}, which torch cannot hold",
        hint="convert this tensor to F32 or BF16",
    )
