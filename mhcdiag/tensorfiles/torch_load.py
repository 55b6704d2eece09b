"""What `torch.load` finds in one file, without ever running code that the file asks for."""

import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

from mhcdiag.errors import ContainerError
from mhcdiag.tensorfiles.names import shown
from mhcdiag.tensorfiles.places import Content, Place, look, members_of, refuse_other_content
from mhcdiag.tensorfiles.stores.local import unreadable

if TYPE_CHECKING:
    from torch import Tensor

_EXPECTED = "a file written by torch.save"
LEGACY_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The number with which files of the format before the zip archives begin (torch before 1.6), as a pickle spells it."""
_DOWNLOAD = "copy or download the file again: it is incomplete or damaged"


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedFile:
    """The object that was saved, with its tensors mapped from the file where the format allows it."""

    path: str
    """The file."""
    root: Any
    """What was given to `torch.save`."""
    is_mapped: bool
    """Whether the values of tensors are read from the file only when touched."""
    size: int
    """Length of the file in bytes."""
    bytes_read: int
    """Bytes read by loading: all but the values of mapped tensors."""


def load_file(path: str) -> LoadedFile:
    """Load a file of `torch.save`, in the zip format of today or the older one.

    Raises
    ------
    ContainerError
        It is another kind of file, damaged, or names a class or function that is not known to be harmless.
    """
    place = look(path)
    if place.content is Content.PICKLE and LEGACY_MAGIC not in place.head:
        found = "a pickle that torch.save did not write; it was not loaded"
        raise ContainerError(path, found=found, expected=_EXPECTED, hint="save the weights as safetensors")
    if place.content not in (Content.ZIP, Content.PICKLE):
        refuse_other_content(path, place.head, expected=_EXPECTED)
        raise ContainerError(path, found=f"a file that begins with {place.head[:16]!r}", expected=_EXPECTED)
    # Mapping compressed records would take their compressed bytes for values.
    stored = place.content is Content.ZIP and _stored_bytes(path)
    root = _load(path, mmap=bool(stored))
    return LoadedFile(
        path=path,
        root=root,
        is_mapped=bool(stored),
        size=place.size,
        bytes_read=place.size - (stored or 0),
    )


def is_torch_save(place: Place) -> bool:
    """Whether the content of a file says that torch.save wrote it, rather than any archive or pickle."""
    if place.content is Content.PICKLE:
        return LEGACY_MAGIC in place.head
    return any(name.endswith("/data.pkl") for name in members_of(place) or [])


def _stored_bytes(path: str) -> int | None:
    """Bytes of tensor values in a zip archive of `torch.save`; None where records are compressed."""
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
    except OSError as error:
        raise unreadable(path, error) from error
    except Exception as error:  # BadZipFile, but also whatever damaged names and lengths lead to
        raise ContainerError(path, found=f"a broken zip archive: {error}", hint=_DOWNLOAD) from error
    names = [record.filename.partition("/")[2] for record in records]
    if "data.pkl" not in names:
        raise ContainerError(path, found="a zip archive without data.pkl", expected=_EXPECTED)
    if "constants.pkl" in names:
        hint = "torch.jit.load it and save its state_dict()"
        raise ContainerError(path, found="a TorchScript program", expected=_EXPECTED, hint=hint)
    if len(set(names)) != len(names):
        raise ContainerError(path, found="a zip archive with two records of one name", expected=_EXPECTED)
    if any(record.compress_type != zipfile.ZIP_STORED for record in records):
        return None
    return sum(record.file_size for record, name in zip(records, names, strict=True) if name.startswith("data/"))


def _load(path: str, *, mmap: bool) -> Any:
    import torch

    from mhcdiag.tensorfiles.numpy_values import NotPlainNumbersError

    try:
        # About pickle protocols and storages of former versions of torch: nothing that a user can act upon.
        with warnings.catch_warnings(action="ignore"), _only_harmless():
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        raise _refusal(path, str(error)) from error
    except NotPlainNumbersError as error:
        expected = "NumPy arrays and numbers of plain numeric types"
        hint = "save the weights alone: torch.save(model.state_dict(), ...), or use safetensors"
        raise ContainerError(path, found=str(error), expected=expected, hint=hint) from error
    except OSError as error:
        raise unreadable(path, error) from error
    except Exception as error:  # a damaged pickle is a random program: it can raise anything
        reason = str(error).strip().partition("\n")[0]
        found = f"torch cannot load it: {type(error).__name__}: {reason:.200}"
        raise ContainerError(path, found=found, expected=_EXPECTED, hint=_DOWNLOAD) from error


def _refusal(path: str, message: str) -> ContainerError:
    forbidden = re.search(r"GLOBAL (\S+)", message)
    if forbidden is None:
        reason = message.rpartition("WeightsUnpickler error:")[2].strip().partition("\n")[0]
        hint = "if it is not damaged, save it again with torch.save and its default pickle protocol"
        found = f"a pickle that torch refuses: {reason:.200}"
        return ContainerError(path, found=found, expected=_EXPECTED, hint=hint)
    return ContainerError(
        path,
        found=f"the pickle asks for {shown(forbidden[1])}, which could run code; nothing was run",
        expected="tensors and plain data",
        hint="save only the weights: torch.save(model.state_dict(), ...), or use safetensors",
    )


# What torch allows is one list of the process, and `check --jobs` opens checkpoints in several threads: the one that
# ends first would take the names from another that still loads.
_ALLOWING = Lock()


@contextmanager
def _only_harmless() -> Iterator[None]:
    """Let torch load what is harmless, in place of NumPy's own names, which a script may have allowed before."""
    import torch

    with _ALLOWING, _nested_tensors_unread():
        before = torch.serialization.get_safe_globals()
        foreign = [one for one in before if not _is_of_numpy(one[0] if isinstance(one, tuple) else one)]
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals([*foreign, *_harmless()])
        try:
            yield
        finally:
            torch.serialization.clear_safe_globals()
            torch.serialization.add_safe_globals(before)


@contextmanager
def _nested_tensors_unread() -> Iterator[None]:
    """Let every nested tensor of a file become an empty one, which is enough to refuse it by its name.

    `torch.save` keeps sizes and strides of a nested tensor as tensors. In the format before zip archives the values of
    all tensors stand at the end of the file, so torch builds the nested tensor from memory that it has not filled yet:
    it loads, or fails with "Storage size calculation overflowed", as that memory happens to be. torch's own list comes
    before the names that `add_safe_globals` adds, hence the change of that list, which torch makes once.
    """
    from torch._weights_only_unpickler import _get_allowed_globals

    allowed = _get_allowed_globals()
    before = allowed.get(_NESTED)
    allowed[_NESTED] = _empty_nested_tensor
    try:
        yield
    finally:
        allowed.pop(_NESTED)
        if before is not None:
            allowed[_NESTED] = before


_NESTED = "torch._utils._rebuild_nested_tensor"


def _empty_nested_tensor(*_parts: object) -> "Tensor":
    import torch

    return torch.nested.nested_tensor([])


def _is_of_numpy(allowed: object) -> bool:
    return str(getattr(allowed, "__module__", "")).partition(".")[0] == "numpy"


def _harmless() -> list[Any]:
    """Classes beyond torch's own list that training scripts save and whose making runs no code of the file.

    Options of a script, paths among them, and NumPy's numbers and arrays (best loss, random state), for which stand-ins
    take plain numbers only. Paths become pure ones: they exist on any system, and no method of theirs touches a file.
    """
    import argparse
    import pathlib
    import types

    import torch

    from mhcdiag.tensorfiles.numpy_values import stand_ins

    return [
        argparse.Namespace,
        types.SimpleNamespace,
        torch.torch_version.TorchVersion,
        *((pathlib.PurePosixPath, f"{module}.PosixPath") for module in ("pathlib", "pathlib._local")),
        *((pathlib.PureWindowsPath, f"{module}.WindowsPath") for module in ("pathlib", "pathlib._local")),
        *stand_ins(),
    ]
