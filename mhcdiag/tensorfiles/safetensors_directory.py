"""Container: a directory of safetensors shards, with an index or loose."""

from mhcdiag.namedtensors import NamedTensors
from mhcdiag.tensorfiles.config_json import config_beside, read_object
from mhcdiag.tensorfiles.interface import ByteSource
from mhcdiag.tensorfiles.places import Place
from mhcdiag.tensorfiles.safetensors_file import refuse_key
from mhcdiag.tensorfiles.safetensors_tensors import SafetensorsTensors
from mhcdiag.tensorfiles.shards import find_index, open_shards, read_index, refuse_incomplete

_SUFFIX = ".safetensors"
_INDEX_SUFFIX = ".safetensors.index.json"
_USUAL_INDEX = "model.safetensors.index.json"

TITLE = "directory of safetensors shards"
LOOKS = "`model.safetensors.index.json`, or loose `*.safetensors`"


def recognises(place: Place) -> bool:
    """A directory with shards or their index, or the index itself."""
    if place.content is not None:
        return place.path.endswith(_INDEX_SUFFIX)
    return any(name.endswith((_SUFFIX, _INDEX_SUFFIX)) for name in place.names)


def open_place(place: Place, *, key: str | None) -> NamedTensors:
    """Read the headers of all shards, the index and `config.json`.

    Raises
    ------
    ContainerError
        A file is missing or broken, or the files contradict each other.
    SettingError
        A key was given: such a checkpoint has one set of tensors.
    """
    refuse_key(place, key)
    index_path = find_index(place, suffix=_INDEX_SUFFIX, usual=_USUAL_INDEX)
    index = read_index(index_path) if index_path is not None else None
    if index is None:
        names = [name for name in place.names if name.endswith(_SUFFIX)]
        refuse_incomplete(place, names)
    else:
        names = index.shards()
    sources = open_shards(place, names, named_by=index.source.name if index else "the directory")
    config = config_beside(place)
    others: list[ByteSource] = [file for file in (index and index.source, config) if file]
    return SafetensorsTensors(
        place.path,
        shards=dict(zip(names, sources, strict=True)),
        shard_of=index.shard_of if index else None,
        config=read_object(config) if config else None,
        others=others,
    )
