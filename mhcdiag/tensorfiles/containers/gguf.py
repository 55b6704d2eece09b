"""Container: GGUF files of llama.cpp, one or the numbered parts of one model (as llama-gguf-split cuts them)."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mhcdiag.errors import ContainerError, MissingExtraError
from mhcdiag.namedtensors import NamedTensors, TensorInfo, row_range
from mhcdiag.tensorfiles.element_types import BITS, torch_dtype
from mhcdiag.tensorfiles.gguf_header import TYPES, GgmlType, GgufTensor, read_gguf_header, size_of
from mhcdiag.tensorfiles.interface import Container, refuse_key
from mhcdiag.tensorfiles.names import is_one_model, listed, numbered, refuse_incomplete, shown
from mhcdiag.tensorfiles.places import Content, Place, look
from mhcdiag.tensorfiles.shards import is_sharded
from mhcdiag.tensorfiles.stores.local import LocalFile
from mhcdiag.tensorfiles.streams import Block, Reader, Stream, file_reader

if TYPE_CHECKING:
    import numpy
    from torch import Tensor


_SUFFIX = ".gguf"
_ARCHITECTURE = "general.architecture"
# llama.cpp writes "ARCHITECTURE.block_count", "ARCHITECTURE.hyper_connection.count" and the like.
_LAYERS = "block_count"


def _recognises(place: Place) -> bool:
    """A file that begins like GGUF, or promises by its name to be one, or a directory of such files and no others."""
    if place.content is None:
        return any(name.endswith(_SUFFIX) for name in place.names) and not any(
            name.endswith((".safetensors", ".safetensors.index.json")) for name in place.names
        )
    return place.content is Content.GGUF or place.path.endswith(_SUFFIX)


def _is_certain(place: Place) -> bool:
    return place.content is Content.GGUF or is_sharded(place, suffixes=(_SUFFIX,))


def _open(place: Place, *, key: str | None) -> NamedTensors:
    """Read the headers of all parts.

    Raises
    ------
    ContainerError
        A part is missing or broken, or a directory holds several models.
    SettingError
        A key was given: such a file has one set of tensors.
    """
    refuse_key(place, key)
    return _GgufTensors(place.path, [LocalFile(path) for path in _parts(place)])


def _parts(place: Place) -> list[str]:
    if place.content is not None:
        # One part stands for all: its own header lists its own tensors only.
        name = os.path.basename(place.path)
        if not numbered([name]):
            return [place.path]
        stem = name.rpartition("-of-")[0].rpartition("-")[0]
        folder = look(place.directory or ".")
        siblings = [each for each in numbered(folder.names) if each.startswith(f"{stem}-")]
        refuse_incomplete(place.directory, siblings)
        return [place.beside(each) for each in siblings]
    found = [name for name in place.names if name.endswith(_SUFFIX)]
    refuse_incomplete(place.directory, numbered(found))
    if is_one_model(found):
        return [place.beside(name) for name in found]
    if len(found) > 1:
        raise ContainerError(
            place.path,
            found=f"{len(found)} GGUF files: {listed(found)}",
            expected="one model",
            hint="pass the path of one of them",
        )
    return [place.beside(found[0])]


class _GgufTensors:
    """A `NamedTensors` over the parts of one model."""

    def __init__(self, path: str, files: Sequence[LocalFile]) -> None:
        self.path = path
        self.metadata: Mapping[str, str] = {}
        self._files = files
        self._home: dict[str, tuple[LocalFile, GgufTensor]] = {}
        facts: dict[str, Any] = {}
        for file in files:
            header = read_gguf_header(file)
            facts = header.metadata | facts
            for name, tensor in header.tensors.items():
                if name in self._home:
                    found = f"tensor {shown(name)} stands here and in {self._home[name][0].name}"
                    raise ContainerError(file.name, found=found, expected="each tensor in one part")
                self._home[name] = file, tensor
        self.config: Mapping[str, Any] = _config(facts)

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """All tensors; the element type of a quantised one is ggml's name for it."""
        return {
            name: TensorInfo(name, TYPES[t.type].name if t.type in TYPES else f"GGML_{t.type}", t.shape)
            for name, (_, t) in self._home.items()
        }

    @property
    def bytes_total(self) -> int:
        """Size of all parts."""
        return sum(file.size for file in self._files)

    @property
    def bytes_read(self) -> int:
        """Bytes read so far."""
        return sum(file.bytes_read for file in self._files)

    def streams(self, name: str) -> list[Stream]:
        """The values of one tensor, piece by piece; quantised ones become float32.

        Raises
        ------
        ContainerError
            ggml's type is not known.
        MissingExtraError
            It is quantised, and the package `gguf` is not there.
        """
        file, tensor = self._home[name]
        size, kind = self._size_and_type(name)
        plain = kind.name in BITS
        if plain:
            read = file_reader(file, start=tensor.start, dtype=kind.name)
        else:
            read = _dequantising_reader(file, tensor, kind)
        block = Block(offsets=(0,) * len(tensor.shape), shape=tensor.shape, read=read, group=kind.block)
        dtype = kind.name if plain else "F32"
        return [Stream(name=name, dtype=dtype, stored=kind.name, shape=tensor.shape, bytes=size, blocks=(block,))]

    further = unread = ()
    """Such files hold a model alone."""

    def _size_and_type(self, name: str) -> tuple[int, GgmlType]:
        file, tensor = self._home[name]
        size, kind = size_of(tensor), TYPES.get(tensor.type)
        if size is None or kind is None:
            found = f"tensor {shown(name)} has ggml type {tensor.type}, which is not known here"
            raise ContainerError(file.name, found=found, hint="convert this tensor to F32 or F16")
        return size, kind

    def read(self, name: str, *, rows: slice | None = None) -> "Tensor":
        """One tensor, or a range of its first axis; quantised values become float32.

        Raises
        ------
        ContainerError
            The bytes are missing, or ggml's type is not known.
        MissingExtraError
            It is quantised, and the package `gguf` is not there.
        """
        import torch

        file, tensor = self._home[name]
        size, kind = self._size_and_type(name)
        start, shape = tensor.start, tensor.shape
        if rows is not None:
            chosen = row_range(shape, rows)
            row_bytes = size // max(shape[0], 1)
            start, size, shape = start + chosen.start * row_bytes, len(chosen) * row_bytes, (len(chosen), *shape[1:])
        data = file.read(start, size)
        dtype = torch_dtype(kind.name)
        if dtype is None:
            return _dequantised(data, tensor.type, name=kind.name).reshape(shape)
        return (torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)).reshape(shape)


def _dequantised(data: bytearray, kind: int, *, name: str) -> "Tensor":
    import numpy
    import torch

    values = _dequantiser(kind, what=f"reading mixing parameters quantised as {name}")
    return torch.from_numpy(values(numpy.frombuffer(data, dtype=numpy.uint8)).copy())


def _dequantiser(kind: int, *, what: str) -> "Callable[[numpy.ndarray], numpy.ndarray]":
    try:
        from gguf.constants import GGMLQuantizationType
        from gguf.quants import dequantize
    except ModuleNotFoundError as error:
        raise MissingExtraError(what, extra="gguf") from error
    return lambda blocks: dequantize(blocks, GGMLQuantizationType(kind))


def _dequantising_reader(file: LocalFile, tensor: GgufTensor, kind: GgmlType) -> Reader:
    values = _dequantiser(tensor.type, what=f"reading values quantised as {kind.name}")

    def read(first: int, count: int, _buffer: memoryview) -> "numpy.ndarray":
        import numpy

        start = tensor.start + first // kind.block * kind.bytes
        data = file.read(start, count // kind.block * kind.bytes)
        floats = values(numpy.frombuffer(data, dtype=numpy.uint8))
        return numpy.ascontiguousarray(floats, dtype=numpy.float32).reshape(-1).view(numpy.uint8)

    return read


def _config(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata without the architecture's prefix; the number of blocks under the name that other files have for it."""
    architecture = str(facts.get(_ARCHITECTURE, ""))
    config = {key.removeprefix(f"{architecture}."): value for key, value in facts.items()}
    if _LAYERS in config:
        config["num_hidden_layers"] = config[_LAYERS]
    return config


GGUF = Container(
    title="GGUF file",
    looks="`*.gguf`, told by content, with all its numbered parts; quantised mixers need the extra `gguf`",
    suffixes=(_SUFFIX,),
    is_certain=_is_certain,
    recognises=_recognises,
    open_place=_open,
)
