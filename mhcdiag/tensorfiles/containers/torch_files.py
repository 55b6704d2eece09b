"""Containers: one file of `torch.save`, usually named .pt, .pth, .bin or .ckpt, and a directory of such files."""

import re
from collections.abc import Sequence

from mhcdiag.errors import ContainerError
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.tensorfiles.interface import Container
from mhcdiag.tensorfiles.names import listed, numbered, refuse_incomplete
from mhcdiag.tensorfiles.places import Content, Place, config_beside, read_object
from mhcdiag.tensorfiles.shards import find_index, is_sharded, open_shards, read_index
from mhcdiag.tensorfiles.stores.interface import ByteSource
from mhcdiag.tensorfiles.torch_load import is_torch_save
from mhcdiag.tensorfiles.torch_tensors import TorchTensors


def _recognises_file(place: Place) -> bool:
    """A zip archive or a pickle, whatever its name."""
    return place.content in (Content.ZIP, Content.PICKLE)


def _open_file(place: Place, *, key: str | None) -> NamedTensors:
    """Load names and shapes, and the `config.json` beside the file.

    Raises
    ------
    ContainerError
        The file is damaged, asks for code, or holds no state dict that could be chosen.
    """
    config = config_beside(place)
    return TorchTensors(
        place.path,
        files=[place.path],
        key=key,
        config=read_object(config) if config else None,
        others=[config] if config else [],
    )


_SUFFIXES = (".pt", ".pth", ".bin")
# What ModelCheckpoint of Lightning writes: one file a step, so a folder of them is a run and no checkpoint.
_LIGHTNING = ".ckpt"
_USUAL = "pytorch_model.bin"
_INDEX_SUFFIX = ".bin.index.json"
# What the Trainer of transformers writes beside the model in checkpoint-N/.
_TRAINER_STATE = re.compile(r"(?:optimizer|scheduler|scaler|training_args)\.(?:pt|bin|pth)$|rng_state.*\.pth$")


def _recognises_directory(place: Place) -> bool:
    """A directory with files named like torch's or an index of such shards, or the index itself."""
    if place.content is not None:
        return place.path.endswith(_INDEX_SUFFIX)
    return any(name.endswith((*_SUFFIXES, _INDEX_SUFFIX)) for name in place.names)


def _is_certain_directory(place: Place) -> bool:
    return is_sharded(place, suffixes=_SUFFIXES, index=_INDEX_SUFFIX)


def _open_directory(place: Place, *, key: str | None) -> NamedTensors:
    """Load names and shapes of all shards, the index and `config.json`.

    Raises
    ------
    ContainerError
        A file is missing or broken, the files contradict each other, or several could be meant.
    """
    index_path = find_index(place, suffix=_INDEX_SUFFIX, usual=f"{_USUAL}.index.json")
    index = read_index(index_path) if index_path is not None else None
    names = index.shards() if index else _loose(place)
    shards = open_shards(place, names, named_by=index.source.name if index else "the directory")
    path_of = {name: shard.name for name, shard in zip(names, shards, strict=True)}
    config = config_beside(place)
    others: list[ByteSource] = [file for file in (index and index.source, config) if file]
    return TorchTensors(
        place.path,
        files=list(path_of.values()),
        key=key,
        shard_of={tensor: path_of[shard] for tensor, shard in index.shard_of.items()} if index else None,
        config=read_object(config) if config else None,
        others=others,
        beside=_unnamed(place, names),
    )


def _unnamed(place: Place, names: Sequence[str]) -> list[str]:
    """Files of torch in the folder that are neither part of the checkpoint nor a trainer's state."""
    return [
        name
        for name in place.names
        if name.endswith(_SUFFIXES) and name not in names and not _TRAINER_STATE.match(name)
    ]


def _loose(place: Place) -> list[str]:
    """Which files to read where there is no index: never the optimizer's beside the model's."""
    if _USUAL in place.names:
        return [_USUAL]
    found = [name for name in place.names if name.endswith(_SUFFIXES) and not _TRAINER_STATE.match(name)]
    if not found:
        raise ContainerError(
            place.path,
            found=f"a trainer's state without the model: {listed(place.names)}",
            expected=f"model.safetensors or {_USUAL}",
            hint="pass the folder that holds the weights",
        )
    if shards := numbered(found):
        refuse_incomplete(place.directory, shards)
        return shards
    if len(found) > 1:
        raise ContainerError(
            place.path,
            found=f"{len(found)} files of torch: {listed(found)}",
            expected=f"one, or {_USUAL}",
            hint="pass the path of one of them",
        )
    return found


TORCH_FILE = Container(
    title="file of `torch.save`",
    looks="`.pt`, `.pth`, `.bin`, told by content; tensors and plain data only, never executed",
    suffixes=(*_SUFFIXES, _LIGHTNING),
    is_certain=is_torch_save,
    recognises=_recognises_file,
    open_place=_open_file,
)
TORCH_DIRECTORY = Container(
    title="directory of `torch.save` files",
    looks="`pytorch_model.bin`, its index, numbered shards, or one other file",
    suffixes=(_INDEX_SUFFIX,),
    is_certain=_is_certain_directory,
    recognises=_recognises_directory,
    open_place=_open_directory,
)
