"""Named tensors over the files of `torch.save` that make up one checkpoint."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mhcdiag.errors import ContainerError
from mhcdiag.namedtensors import TensorInfo, row_range
from mhcdiag.tensorfiles.element_types import BITS, spelling_of
from mhcdiag.tensorfiles.names import clean_names, shown, unread_files
from mhcdiag.tensorfiles.state_dicts import config_in, tensors_elsewhere, weights
from mhcdiag.tensorfiles.stores.interface import ByteSource
from mhcdiag.tensorfiles.stores.local import LocalFile
from mhcdiag.tensorfiles.streams import Block, Stream, file_reader, tensor_reader
from mhcdiag.tensorfiles.torch_load import LoadedFile, load_file
from mhcdiag.tensorfiles.torch_places import beginning_of_map, value_records

if TYPE_CHECKING:
    from torch import Tensor


class TorchTensors:
    """A `NamedTensors` over mapped files: values are read from the file when asked for.

    Old files that cannot be mapped are read completely.

    Parameters
    ----------
    path
        The checkpoint as the user named it.
    files
        Paths of its files, in the order in which tensors are listed.
    key
        Which state dict of each file to take; None takes the model's.
    shard_of
        The index: path of the file by name of the tensor; None where there is none.
    config
        What `config.json` holds; None takes the configuration that was saved with the weights.
    others
        Files already read that belong to the checkpoint: the index, `config.json`.
    beside
        Names of further files in the same folder that could hold tensors and are no part of the checkpoint.

    Raises
    ------
    ContainerError
        A file is broken or asks for code, holds no weights, or contradicts the index or another file.
    """

    def __init__(
        self,
        path: str,
        *,
        files: Sequence[str],
        key: str | None = None,
        shard_of: Mapping[str, str] | None = None,
        config: Mapping[str, Any] | None = None,
        others: Sequence[ByteSource] = (),
        beside: Sequence[str] = (),
    ) -> None:
        self.path = path
        self.config = config
        self.metadata: Mapping[str, str] = {}
        self._others = others
        self._tensors: dict[str, Tensor] = {}
        self._file_of: dict[str, LoadedFile] = {}
        self._files = [load_file(file) for file in files]
        self._bytes_of_values = 0
        self._beside = unread_files(beside)
        self._maps: dict[str, int | None] = {}
        self._further: dict[str, tuple[Tensor, LoadedFile]] | None = None
        for file in self._files:
            self._add(file, weights(file.root, path=file.path, key=key), shard_of)
            self.config = config_in(file.root) if self.config is None else self.config
        _refuse_missing(path, self._file_of, shard_of or {})
        self._full_name_of = clean_names(self._tensors, path=path)

    def _add(self, file: LoadedFile, tensors: "dict[str, Tensor]", shard_of: Mapping[str, str] | None) -> None:
        for name, tensor in tensors.items():
            if shard_of is not None and shard_of.get(name, file.path) != file.path:
                continue
            if tensor.is_nested:
                # It has no shape to list, and its rows stand where the file says, inside the storage or not.
                found = f"tensor {shown(name)} is a nested tensor"
                raise ContainerError(file.path, found=found, expected="a plain dense tensor", hint="convert it first")
            if name in self._tensors:
                raise ContainerError(
                    file.path,
                    found=f"tensor {shown(name)} stands here and in {self._file_of[name].path}",
                    expected="each tensor in one shard",
                    hint="pass one file, if they are different checkpoints",
                )
            self._tensors[name] = tensor
            self._file_of[name] = file

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """All tensors by name without the prefixes of wrappers."""
        return {
            name: TensorInfo(full, spelling_of(self._tensors[full].dtype), tuple(self._tensors[full].shape))
            for name, full in self._full_name_of.items()
        }

    @property
    def bytes_total(self) -> int:
        """Size of all files, the index and `config.json`."""
        return sum(file.size for file in self._files) + sum(file.size for file in self._others)

    @property
    def bytes_read(self) -> int:
        """Bytes read so far: what is not values of tensors, and the values that were asked for."""
        loaded = sum(file.bytes_read for file in self._files) + sum(file.bytes_read for file in self._others)
        return loaded + self._bytes_of_values

    def read(self, name: str, *, rows: slice | None = None) -> "Tensor":
        """One tensor, or a range of its first axis, as a copy that does not depend on the file.

        Raises
        ------
        KeyError
            There is no tensor of this name.
        ContainerError
            It is not a plain dense tensor.
        """
        import torch

        tensor, file = self._dense(name)
        if rows is not None:
            chosen = row_range(tuple(tensor.shape), rows)
            tensor = tensor[chosen.start : chosen.stop]
        if file.is_mapped:
            self._bytes_of_values += tensor.nbytes
        return tensor.clone(memory_format=torch.contiguous_format)

    def streams(self, name: str) -> list[Stream]:
        """The values of one tensor, piece by piece: from the file where they stand there in order.

        Raises
        ------
        ContainerError
            It is not a plain dense tensor.
        """
        tensor, file = self._dense(name)
        memory = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride())
        stored = spelling_of(tensor.dtype)
        tensor = _without_repeats(_real(tensor))
        dtype, shape = _read_as(tensor)
        if dtype not in BITS:
            raise ContainerError(file.path, found=f"tensor {shown(name)} has element type {stored}, not known here")
        start = self._place_of(tensor, file) if tensor.is_contiguous() else None
        if start is None:
            read = tensor_reader(lambda rows: tensor if rows is None else tensor[rows], shape, size=tensor.nbytes)
        else:
            read = file_reader(_Counted(self, file), start=start, dtype=dtype)
        block = Block(offsets=(0,) * len(shape), shape=shape, read=read)
        blocks, size = (block,), tensor.nbytes
        return [Stream(name=name, dtype=dtype, stored=stored, shape=shape, bytes=size, blocks=blocks, memory=memory)]

    @property
    def unread(self) -> list[str]:
        """Files beside these."""
        return self._beside

    @property
    def further(self) -> "dict[str, tuple[Tensor, LoadedFile]]":
        """Tensors of the files that are none of the model's, by the keys that lead to them."""
        if self._further is None:
            chosen = {id(tensor) for tensor in self._tensors.values()}
            self._further = {}
            for file in self._files:
                for name, tensor in tensors_elsewhere(file.root, chosen).items():
                    taken = name in self._further or name in self._full_name_of
                    self._further[f"{name} ({file.path})" if taken else name] = tensor, file
        return self._further

    def _place_of(self, tensor: "Tensor", file: LoadedFile) -> int | None:
        """First byte of a contiguous tensor in its file; None where it lies in memory only."""
        if not file.is_mapped:
            return None
        if file.path not in self._maps:
            storages = (
                (one.untyped_storage().data_ptr(), one.untyped_storage().nbytes())
                for name, one in self._tensors.items()
                if self._file_of[name] is file and one.layout is tensor.layout and one.device.type == "cpu"
            )
            self._maps[file.path] = beginning_of_map(value_records(file.path), storages)
        beginning = self._maps[file.path]
        return None if beginning is None else tensor.data_ptr() - beginning

    def _dense(self, name: str) -> "tuple[Tensor, LoadedFile]":
        import torch

        if name in self._full_name_of:
            full_name = self._full_name_of[name]
            tensor, file = self._tensors[full_name].detach(), self._file_of[full_name]
        else:
            full_name = name
            tensor, file = self.further[name][0].detach(), self.further[name][1]
        if type(tensor) is not torch.Tensor or tensor.layout is not torch.strided or tensor.is_quantized:
            kind = f"tensor {shown(full_name)} is a {type(tensor).__name__} of layout {tensor.layout}"
            raise ContainerError(file.path, found=kind, expected="a plain dense tensor", hint="convert it first")
        if tensor.device.type != "cpu":
            found = f"tensor {shown(full_name)} is on the device {tensor.device}, without values"
            raise ContainerError(file.path, found=found, expected="values", hint="save the trained model")
        return tensor, file


class _Counted:
    """A mapped file whose bytes count as read by its checkpoint."""

    def __init__(self, owner: TorchTensors, file: LoadedFile) -> None:
        self._owner = owner
        self._source = LocalFile(file.path)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill the buffer from `offset` on."""
        self._source.read_into(offset, buffer)
        self._owner._bytes_of_values += len(buffer)


def _real(tensor: "Tensor") -> "Tensor":
    """Real and imaginary parts along a further axis; a real tensor as it is."""
    import torch

    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def _without_repeats(tensor: "Tensor") -> "Tensor":
    """The tensor with length 1 along axes that `expand` made: a few bytes may stand for any number of elements."""
    for axis, (length, stride) in enumerate(zip(tensor.shape, tensor.stride(), strict=True)):
        if length > 1 and stride == 0:
            tensor = tensor.narrow(axis, 0, 1)
    return tensor


def _read_as(tensor: "Tensor") -> tuple[str, tuple[int, ...]]:
    """Element type and shape as the values are read."""
    spelling, shape = spelling_of(tensor.dtype), tuple(tensor.shape)
    if spelling == "FLOAT4_E2M1FN_X2" and shape:
        return "F4", (*shape[:-1], 2 * shape[-1])  # one element of torch's type holds two values
    return spelling, shape


def _refuse_missing(path: str, file_of: Mapping[str, LoadedFile], shard_of: Mapping[str, str]) -> None:
    if missing := shard_of.keys() - file_of.keys():
        name = min(missing)
        raise ContainerError(
            path,
            found=f"the index places tensor {shown(name)} in {shard_of[name]}, which lacks it",
            hint="index and shards come from different checkpoints: download them again",
        )
