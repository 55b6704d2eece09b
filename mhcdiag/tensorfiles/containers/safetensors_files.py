"""Container: one safetensors file."""

from mhcdiag.errors import SettingError
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.tensorfiles.interface import ByteSource, Container
from mhcdiag.tensorfiles.local_file import LocalFile
from mhcdiag.tensorfiles.places import Content, Place
from mhcdiag.tensorfiles.safetensors_tensors import SafetensorsTensors
from mhcdiag.tensorfiles.shards import find_index, open_shards, read_index, refuse_incomplete
from mhcdiag.tensorfiles.strict_json import config_beside, read_object


def _recognises_file(place: Place) -> bool:
    """A file that begins like safetensors, or promises by its name to be one."""
    if place.content is None:
        return False
    return place.content is Content.SAFETENSORS or place.path.endswith(".safetensors")


def _open_file(place: Place, *, key: str | None) -> NamedTensors:
    """Read the header of the file and the `config.json` beside it.

    Raises
    ------
    ContainerError
        Header or configuration are broken, or the file is something else than its name says.
    SettingError
        A key was given: such a file has one set of tensors.
    """
    refuse_key(place, key)
    source = LocalFile(place.path)
    config = config_beside(place)
    return SafetensorsTensors(
        place.path,
        shards={place.path: source},
        config=read_object(config) if config else None,
        others=[config] if config else [],
    )


def refuse_key(place: Place, key: str | None) -> None:
    """Raise if a key was given for a container that holds one set of tensors.

    Raises
    ------
    SettingError
        `key` is not None.
    """
    if key is not None:
        raise SettingError(
            f"{place.path}: --key {key} chooses among the state dicts of a torch file; this is safetensors, "
            "which holds one set of tensors; leave --key out"
        )


_SUFFIX = ".safetensors"
_INDEX_SUFFIX = ".safetensors.index.json"
_USUAL_INDEX = "model.safetensors.index.json"


def _recognises_directory(place: Place) -> bool:
    """A directory with shards or their index, or the index itself."""
    if place.content is not None:
        return place.path.endswith(_INDEX_SUFFIX)
    return any(name.endswith((_SUFFIX, _INDEX_SUFFIX)) for name in place.names)


def _open_directory(place: Place, *, key: str | None) -> NamedTensors:
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


SAFETENSORS_FILE = Container(
    title="safetensors file",
    looks="`*.safetensors`, told by content",
    recognises=_recognises_file,
    open_place=_open_file,
)
SAFETENSORS_DIRECTORY = Container(
    title="directory of safetensors shards",
    looks="`model.safetensors.index.json`, or loose `*.safetensors`",
    recognises=_recognises_directory,
    open_place=_open_directory,
)
