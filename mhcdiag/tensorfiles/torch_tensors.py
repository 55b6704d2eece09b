"""Named tensors over the files of `torch.save` that make up one checkpoint."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mhcdiag.errors import ContainerError
from mhcdiag.namedtensors import TensorInfo, row_range
from mhcdiag.tensorfiles.element_types import spelling_of
from mhcdiag.tensorfiles.names import clean_names, shown
from mhcdiag.tensorfiles.state_dicts import config_in, weights
from mhcdiag.tensorfiles.stores.interface import ByteSource
from mhcdiag.tensorfiles.torch_load import LoadedFile, load_file

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
    ) -> None:
        self.path = path
        self.config = config
        self.metadata: Mapping[str, str] = {}
        self._others = others
        self._tensors: dict[str, Tensor] = {}
        self._file_of: dict[str, LoadedFile] = {}
        self._files = [load_file(file) for file in files]
        self._bytes_of_values = 0
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

        full_name = self._full_name_of[name]
        tensor, file = self._tensors[full_name].detach(), self._file_of[full_name]
        if type(tensor) is not torch.Tensor or tensor.layout is not torch.strided or tensor.is_quantized:
            kind = f"tensor {shown(full_name)} is a {type(tensor).__name__} of layout {tensor.layout}"
            raise ContainerError(file.path, found=kind, expected="a plain dense tensor", hint="convert it first")
        if tensor.device.type != "cpu":
            found = f"tensor {shown(full_name)} is on the device {tensor.device}, without values"
            raise ContainerError(file.path, found=found, expected="values", hint="save the trained model")
        if rows is not None:
            chosen = row_range(tuple(tensor.shape), rows)
            tensor = tensor[chosen.start : chosen.stop]
        if file.is_mapped:
            self._bytes_of_values += tensor.nbytes
        return tensor.clone(memory_format=torch.contiguous_format)


def _refuse_missing(path: str, file_of: Mapping[str, LoadedFile], shard_of: Mapping[str, str]) -> None:
    if missing := shard_of.keys() - file_of.keys():
        name = min(missing)
        raise ContainerError(
            path,
            found=f"the index places tensor {shown(name)} in {shard_of[name]}, which lacks it",
            hint="index and shards come from different checkpoints: download them again",
        )
