"""What a container format offers.

To add a container, add one module in `containers/` that ends with a `Container`, and one entry in `CONTAINERS`
(`containers/__init__.py`). `mhcdiag layouts` and the README then list it, and `gain`, `health`, `inspect`, `trend` and
`check` all take it: nothing else decides what a checkpoint is. Rules:

* `recognises` looks at content first, and says yes to a broken file of its format too: whoever opens it then says what
  is wrong. It reads first bytes or a header, never values, and never runs what a file asks for.
* `is_certain` tells a file from a log by its content, and a folder that is one checkpoint from a run that keeps a file
  for each step: it says yes to ranks, numbered shards and an index, of which loose files would mean nothing.
* The order in `CONTAINERS` matters: the first that recognises a place opens it.
* `suffixes` are for files that are missing, empty or broken, of which the name alone says what they should be.
* `open_place` reads headers only, through a `ByteSource` wherever the format allows it, so that what was read
  is counted.
* Everything that a file can do wrong is a `mhcdiag.errors.ContainerError` with what was found, what was
  expected and what to do.
* torch and NumPy are imported inside of functions: headers are listed without them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from mhcdiag.errors import SettingError
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.tensorfiles.places import Place


class OpenPlace(Protocol):
    """What reads the headers at a place."""

    def __call__(self, place: Place, *, key: str | None) -> NamedTensors:
        """Read them; `key` chooses among several state dicts of one file."""


def _never(_place: Place) -> bool:
    return False


@dataclass(frozen=True, kw_only=True, slots=True)
class Container:
    """One container format."""

    title: str
    """What it is, for people."""
    looks: str
    """What it is recognised by; code between backticks."""
    suffixes: tuple[str, ...] = ()
    """Endings of files that should hold this format or belong to it, whatever they hold; "/NAME" for a whole name."""
    is_certain: Callable[[Place], bool] = _never
    """Whether there is one checkpoint of this format for certain: a file is no log, a folder no run with several."""
    recognises: Callable[[Place], bool]
    """Whether this format is responsible for what stands at a place, be it sound or broken."""
    open_place: OpenPlace
    """Read the headers at a place."""


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
