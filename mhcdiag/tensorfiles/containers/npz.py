"""Container: arrays of NumPy's `savez`, as people keep captured mappings.

One array `h_res` (or the only array of the file) of shape [site, n, n] or [site, token, n, n] is offered site by site,
under the names of the interchange format for captured mappings.
"""

import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import IO, TYPE_CHECKING, Any

from mhcdiag.errors import ContainerError
from mhcdiag.namedtensors import NamedTensors, TensorInfo, row_range
from mhcdiag.tensorfiles.element_types import BITS, spelling_named
from mhcdiag.tensorfiles.interface import Container, refuse_key
from mhcdiag.tensorfiles.names import shown
from mhcdiag.tensorfiles.places import Place, members_of
from mhcdiag.tensorfiles.stores.local import unreadable
from mhcdiag.tensorfiles.streams import Block, Reader, Stream, bytes_of, tensor_reader

if TYPE_CHECKING:
    import numpy
    from torch import Tensor

    from mhcdiag.tensorfiles.streams import Bytes


_SUFFIX = ".npz"
_MAPS = "h_res"
# What mappings are kept in; NumPy has no bfloat16, and integers or objects are no mappings.
_FLOATS = ("float16", "float32", "float64")
_SITE = re.compile(r"layers\.\d+\.h_res")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Array:
    name: str
    """As it is offered."""
    member: str
    """File in the archive."""
    dtype: str
    shape: tuple[int, ...]
    site: int | None
    """Index into the first axis; None for the whole array."""
    start: int
    """First byte of its numbers in the member."""
    is_plain: bool
    """Whether they stand there little-endian, the last axis running fastest."""


def _recognises(place: Place) -> bool:
    """A zip archive with arrays."""
    members = members_of(place)
    return place.path.endswith(_SUFFIX) if members is None else _has_arrays(members)


def _is_certain(place: Place) -> bool:
    return _has_arrays(members_of(place) or [])


def _has_arrays(members: Sequence[str]) -> bool:
    return any(name.endswith(".npy") for name in members)


def _open(place: Place, *, key: str | None) -> NamedTensors:
    """Read the headers of all arrays.

    Raises
    ------
    ContainerError
        The archive is broken, or holds objects instead of numbers.
    SettingError
        A key was given: such a file has one set of arrays.
    """
    refuse_key(place, key)
    return _NpzTensors(place)


class _NpzTensors:
    """A `NamedTensors` over the members of an archive."""

    def __init__(self, place: Place) -> None:
        self.path = place.path
        self.config: Mapping[str, Any] | None = None
        self.metadata: Mapping[str, str] = {}
        self.bytes_total = place.size
        self.bytes_read = 0
        self._arrays = self._site_by_site(self._headers())

    def _headers(self) -> dict[str, _Array]:
        found = {}
        try:
            with zipfile.ZipFile(self.path) as archive:
                for member in archive.infolist():
                    if member.filename.endswith(".npy"):
                        with archive.open(member) as file:
                            found[member.filename.removesuffix(".npy")] = self._header(member.filename, file)
        except OSError as error:
            raise unreadable(self.path, error) from error
        except Exception as error:  # BadZipFile, but also whatever damaged names and lengths lead to
            hint = "copy or download the file again"
            raise ContainerError(self.path, found=f"a broken archive: {error!s:.100}", hint=hint) from error
        return found

    def _header(self, name: str, file: Any) -> _Array:
        from numpy.lib import format as npy

        # Version 2 of the format has a longer header, for structured types, and 3 the same in UTF-8.
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(file)
        self.bytes_read += file.tell()
        plain = dtype == dtype.newbyteorder("<") and not fortran
        return _Array(
            name=name.removesuffix(".npy"),
            member=name,
            dtype=str(dtype.newbyteorder("=")),
            shape=shape,
            site=None,
            start=file.tell(),
            is_plain=plain,
        )

    def _site_by_site(self, arrays: dict[str, _Array]) -> dict[str, _Array]:
        # The only array has the name arr_0 where savez was called without one.
        name = _MAPS if _MAPS in arrays else next(iter(arrays)) if len(arrays) == 1 else None
        if name is None or _SITE.fullmatch(name) or len(arrays[name].shape) not in (3, 4):
            return arrays
        maps = arrays.pop(name)
        sites = {
            name: replace(maps, name=name, shape=maps.shape[1:], site=site)
            for site, name in enumerate(f"layers.{site}.h_res" for site in range(maps.shape[0]))
        }
        return sites | arrays

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """All arrays."""
        return {
            name: TensorInfo(name, spelling_named(array.dtype), array.shape) for name, array in self._arrays.items()
        }

    def read(self, name: str, *, rows: slice | None = None) -> "Tensor":
        """One array, or a range of its first axis.

        Raises
        ------
        ContainerError
            It holds something else than numbers, or its bytes are broken.
        """
        import numpy
        import torch

        array = self._arrays[name]
        if array.dtype not in _FLOATS:
            found = f"array {shown(name)} has element type {array.dtype}"
            raise ContainerError(self.path, found=found, expected=", ".join(_FLOATS))
        values = self._values(array.member)
        values = values if array.site is None else values[array.site]
        if rows is not None:
            chosen = row_range(array.shape, rows)
            values = values[chosen.start : chosen.stop]
        self.bytes_read += values.nbytes
        return torch.from_numpy(numpy.array(values, dtype=array.dtype, order="C"))

    def streams(self, name: str) -> list[Stream]:
        """The numbers of one array, piece by piece.

        Raises
        ------
        ContainerError
            It holds something else than numbers.
        """
        array = self._arrays[name]
        dtype = spelling_named(array.dtype)
        if dtype not in BITS:
            found = f"array {shown(name)} has element type {array.dtype}"
            raise ContainerError(self.path, found=found, expected="numbers")
        size = bytes_of(prod(array.shape), dtype)
        read = self._reader(array, size, dtype)
        block = Block(offsets=(0,) * len(array.shape), shape=array.shape, read=read)
        return [Stream(name=name, dtype=dtype, stored=dtype, shape=array.shape, bytes=size, blocks=(block,))]

    further = unread = ()
    """All arrays are listed."""

    def _reader(self, array: _Array, size: int, dtype: str) -> Reader:
        """Reads on through the member of the archive; what is not stored plainly is read as a whole."""
        import numpy

        if not array.is_plain:
            return tensor_reader(lambda _rows: self.read(array.name), array.shape, size=0)
        start = array.start + (array.site or 0) * size
        opened: list[IO[bytes]] = []  # a compressed member is unpacked from its beginning whenever it is opened

        def read(first: int, count: int, _buffer: memoryview) -> "Bytes":
            length = bytes_of(count, dtype)
            try:
                if not opened:
                    opened.append(zipfile.ZipFile(self.path).open(array.member))  # noqa: SIM115 - it stays open
                opened[0].seek(start + bytes_of(first, dtype))
                data = opened[0].read(length)
                if first + count == prod(array.shape):
                    opened.pop().close()
            except Exception as error:  # BadZipFile, but also whatever damaged names and lengths lead to
                raise self._broken(array.member, error) from error
            if len(data) != length:
                raise self._broken(array.member, EOFError("it ends too early"))
            self.bytes_read += length
            return numpy.frombuffer(data, dtype=numpy.uint8)

        return read

    def _broken(self, member: str, error: Exception) -> ContainerError:
        found = f"array {shown(member)} cannot be read: {error!s:.100}"
        return ContainerError(self.path, found=found, hint="write the file again with numpy.savez")

    def _values(self, member: str) -> "numpy.ndarray":
        import numpy

        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(member) as file:
                return numpy.lib.format.read_array(file, allow_pickle=False)
        except OSError as error:
            raise unreadable(self.path, error) from error
        except Exception as error:  # BadZipFile, but also whatever damaged names and lengths lead to
            raise self._broken(member, error) from error


NPZ = Container(
    title="NumPy maps",
    looks="`*.npz` with `layers.{i}.h_res`, or one array `[site, n, n]` or `[site, token, n, n]`; never unpickled",
    suffixes=(_SUFFIX,),
    is_certain=_is_certain,
    recognises=_recognises,
    open_place=_open,
)
