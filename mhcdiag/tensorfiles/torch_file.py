"""Container: one file of `torch.save`, usually named .pt, .pth or .bin."""

from mhcdiag.namedtensors import NamedTensors
from mhcdiag.tensorfiles.config_json import config_beside, read_object
from mhcdiag.tensorfiles.places import Content, Place
from mhcdiag.tensorfiles.torch_tensors import TorchTensors

TITLE = "file of `torch.save`"
LOOKS = "`.pt`, `.pth`, `.bin`, told by content; tensors and plain data only, never executed"


def recognises(place: Place) -> bool:
    """A zip archive or a pickle, whatever its name."""
    return place.content in (Content.ZIP, Content.PICKLE)


def open_place(place: Place, *, key: str | None) -> NamedTensors:
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
