"""Named tensors, read lazily: what every checkpoint container offers and every layout asks for.

The contract stands below both packages so that `tensorfiles` (how bytes become tensors) and `layouts` (what the tensors
mean) never import each other.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor

CAPTURED_MAP = re.compile(r"^layers\.(\d{1,9})\.h_res$")
"""Names of captured mappings: what a directory of such files is recognised by, and what the layout reads."""


def tie_of(metadata: Mapping[str, str]) -> str:
    """Which checkpoint captured mappings are of: its hash ("sha256:..."), else "step 160"; empty where none is."""
    step = metadata.get("step", "")
    return metadata.get("tied_to") or (f"step {int(step)}" if step.isascii() and step.isdigit() else "")


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """What a container's header says of one tensor."""

    name: str
    """Full name inside the checkpoint, prefixes included."""
    dtype: str
    """Element type in the spelling of safetensors: F32, BF16, F8_E4M3, I8, ..."""
    shape: tuple[int, ...]
    """Number of elements per axis; () for a scalar."""


@runtime_checkable
class NamedTensors(Protocol):
    """One checkpoint: names, shapes and metadata at once, values on demand."""

    @property
    def path(self) -> str:
        """The checkpoint as the user named it; opens every message about it."""

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """All tensors by name, from headers alone; iterating gives the names in file order."""

    @property
    def config(self) -> Mapping[str, Any] | None:
        """The `config.json` beside the tensors, or the configuration inside a pickle; None where there is none."""

    @property
    def metadata(self) -> Mapping[str, str]:
        """The container's own string metadata; empty where it has none."""

    @property
    def bytes_total(self) -> int:
        """Size of all files of the checkpoint in bytes."""

    @property
    def bytes_read(self) -> int:
        """Bytes read so far, headers included."""

    def read(self, name: str, *, rows: slice | None = None) -> "Tensor":
        """One tensor, or a range of its first axis, on the CPU in the dtype of the file.

        Raises
        ------
        mhcdiag.errors.ContainerError
            The bytes are missing, or their dtype is one that torch cannot hold.
        """


@runtime_checkable
class Prefetching(Protocol):
    """A checkpoint whose tensors come faster together than one by one: on a server."""

    def prefetch(self, names: Iterable[str]) -> None:
        """Fetch these tensors, so that `read` finds them.

        Raises
        ------
        mhcdiag.errors.ContainerError
            They cannot be fetched.
        """


def natural_key(path: str) -> list[tuple[int, str]]:
    """Sort key under which "layers.2" comes before "layers.10"."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path) if part]


def prefetch(checkpoint: NamedTensors, names: Iterable[str]) -> None:
    """Announce which tensors will be read; does nothing where that helps nothing."""
    if isinstance(checkpoint, Prefetching):
        checkpoint.prefetch(names)


def row_range(shape: tuple[int, ...], rows: slice) -> range:
    """The rows that a slice without a step selects, clipped to the tensor as Python clips.

    Raises
    ------
    ValueError
        The tensor is a scalar, or the slice has a step: a mistake of the caller, not of the file.
    """
    if not shape:
        raise ValueError("a scalar has no rows")
    chosen = range(*rows.indices(shape[0]))
    if chosen.step != 1:
        raise ValueError(f"rows must be contiguous, not every {chosen.step}th")
    return range(chosen.start, max(chosen.start, chosen.stop))
