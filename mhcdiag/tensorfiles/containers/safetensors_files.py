"""Containers: one safetensors file, and a directory of its shards."""

from mhcdiag.namedtensors import NamedTensors
from mhcdiag.tensorfiles.interface import Container, refuse_key
from mhcdiag.tensorfiles.names import SAFETENSORS, SAFETENSORS_INDEX, USUAL_INDEX, refuse_incomplete
from mhcdiag.tensorfiles.places import Content, Place, config_beside, read_object
from mhcdiag.tensorfiles.safetensors_tensors import SafetensorsTensors
from mhcdiag.tensorfiles.shards import find_index, is_sharded, open_shards, read_index
from mhcdiag.tensorfiles.stores.interface import ByteSource
from mhcdiag.tensorfiles.stores.local import LocalFile


def _recognises_file(place: Place) -> bool:
    """A file that begins like safetensors, or promises by its name to be one."""
    if place.content is None:
        return False
    return place.content is Content.SAFETENSORS or place.path.endswith(SAFETENSORS)


def _is_certain_file(place: Place) -> bool:
    # An event file of TensorBoard begins with 8 bytes of length too, then with a checksum, of which one in 256 begins
    # like JSON; the record that follows has bytes that JSON cannot have.
    header = place.head[8 : 8 + int.from_bytes(place.head[:8], "little")]
    return place.content is Content.SAFETENSORS and not any(byte < 0x20 and byte not in b"\t\n\r" for byte in header)


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


def _recognises_directory(place: Place) -> bool:
    """A directory with shards or their index, or the index itself."""
    if place.content is not None:
        return place.path.endswith(SAFETENSORS_INDEX)
    return any(name.endswith((SAFETENSORS, SAFETENSORS_INDEX)) for name in place.names)


def _is_certain_directory(place: Place) -> bool:
    return is_sharded(place, suffixes=(SAFETENSORS,), index=SAFETENSORS_INDEX)


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
    index_path = find_index(place, suffix=SAFETENSORS_INDEX, usual=USUAL_INDEX)
    index = read_index(index_path) if index_path is not None else None
    if index is None:
        names = [name for name in place.names if name.endswith(SAFETENSORS)]
        refuse_incomplete(place.directory, names)
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
        beside=[name for name in place.names if name.endswith(SAFETENSORS) and name not in names],
    )


SAFETENSORS_FILE = Container(
    title="safetensors file",
    looks="`*.safetensors`, told by content",
    suffixes=(SAFETENSORS,),
    is_certain=_is_certain_file,
    recognises=_recognises_file,
    open_place=_open_file,
)
SAFETENSORS_DIRECTORY = Container(
    title="directory of safetensors shards",
    looks="`model.safetensors.index.json`, or loose `*.safetensors`",
    suffixes=(SAFETENSORS_INDEX,),
    is_certain=_is_certain_directory,
    recognises=_recognises_directory,
    open_place=_open_directory,
)
