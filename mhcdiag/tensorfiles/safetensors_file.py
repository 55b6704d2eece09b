"""Container: one safetensors file."""

from mhcdiag.errors import SettingError
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.tensorfiles.config_json import config_beside, read_object
from mhcdiag.tensorfiles.local_file import LocalFile
from mhcdiag.tensorfiles.places import Content, Place
from mhcdiag.tensorfiles.safetensors_tensors import SafetensorsTensors

TITLE = "safetensors file"
LOOKS = "`*.safetensors`, told by content"


def recognises(place: Place) -> bool:
    """A file that begins like safetensors, or promises by its name to be one."""
    if place.content is None:
        return False
    return place.content is Content.SAFETENSORS or place.path.endswith(".safetensors")


def open_place(place: Place, *, key: str | None) -> NamedTensors:
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
