"""Container: safetensors on a server, of which headers and the wanted tensors are fetched and nothing else."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mhcdiag.errors import ContainerError
from mhcdiag.namedtensors import NamedTensors
from mhcdiag.tensorfiles.interface import Container, refuse_key
from mhcdiag.tensorfiles.names import shards_in, shown_address
from mhcdiag.tensorfiles.places import Content, Place, store_of
from mhcdiag.tensorfiles.remote_file import RemoteFile, fetch_heads, fetch_spans
from mhcdiag.tensorfiles.safetensors_tensors import SafetensorsTensors
from mhcdiag.tensorfiles.stores import STORES
from mhcdiag.tensorfiles.stores.interface import RemoteFolder
from mhcdiag.tensorfiles.strict_json import JSON_LIMIT, parse_object

LARGE = 10_000_000
"""Bytes from which a download is announced before it begins: a second on a line of 100 Mbit/s."""
_log = logging.getLogger("mhcdiag")


def _recognises(place: Place) -> bool:
    """An address."""
    return place.content is Content.REMOTE


def _open(place: Place, *, key: str | None) -> NamedTensors:
    """Fetch the headers of all shards, the index and `config.json`.

    Raises
    ------
    ContainerError
        The server refuses or does not answer, or the files are broken or contradict each other.
    SettingError
        A key was given: such a checkpoint has one set of tensors.
    """
    refuse_key(place, key)
    find = store_of(place.path).find
    assert find is not None  # else it would be a path of this machine
    folder = find(place.path)
    small: list[int] = []
    shard_of, names = None, list(folder.shards)
    if folder.index is not None:
        name = folder.resource(folder.index).name
        shard_of = shards_in(_object(folder, folder.index, small), path=name)
        names = sorted(set(shard_of.values()))
    config = _config(folder, small)
    files = {name: RemoteFile(folder.resource(name)) for name in names}
    fetch_heads(list(files.values()))
    return RemoteTensors(
        shown_address(place.path), shards=files, shard_of=shard_of, config=config, further_bytes=sum(small)
    )


def _object(folder: RemoteFolder, name: str, sizes: list[int]) -> dict[str, Any]:
    resource = folder.resource(name)
    body = resource.fetch(limit=JSON_LIMIT).body
    sizes.append(len(body))
    return parse_object(body, path=resource.name, what="the file")


def _config(folder: RemoteFolder, sizes: list[int]) -> dict[str, Any] | None:
    if folder.has_config is False:
        return None
    try:
        return _object(folder, "config.json", sizes)
    except ContainerError as error:
        # Beside a file on a web server there may be none, and nothing but asking tells.
        if folder.has_config is None and ("(404)" in error.found or "(403)" in error.found):
            return None
        raise


class RemoteTensors(SafetensorsTensors):
    """Tensors over remote shards; what is asked for together is fetched together.

    Parameters
    ----------
    further_bytes
        Bytes of index and configuration, already fetched.
    """

    def __init__(
        self,
        path: str,
        *,
        shards: Mapping[str, RemoteFile],
        shard_of: Mapping[str, str] | None,
        config: Mapping[str, Any] | None,
        further_bytes: int,
    ) -> None:
        super().__init__(path, shards=shards, shard_of=shard_of, config=config)
        self._files = {file.name: file for file in shards.values()}
        self._further_bytes = further_bytes

    @property
    def bytes_total(self) -> int:
        """Size of all shards, the index and `config.json`."""
        return super().bytes_total + self._further_bytes

    @property
    def bytes_read(self) -> int:
        """Bytes fetched so far."""
        return super().bytes_read + self._further_bytes

    def prefetch(self, names: Iterable[str]) -> None:
        """Fetch the tensors of these names, several at a time; say so first where that is much."""
        spans: dict[str, list[tuple[int, int]]] = {}
        for name in names:
            span = self.span(name)
            spans.setdefault(span.file, []).append((span.start, span.length))
        wanted = [
            (self._files[file], offset, length)
            for file, of_file in spans.items()
            for offset, length in self._files[file].missing(of_file)
        ]
        self._announce(wanted)
        fetch_spans(wanted)

    def _announce(self, wanted: Sequence[tuple[RemoteFile, int, int]]) -> None:
        total = sum(length for _, _, length in wanted)
        if total >= LARGE:
            _log.warning("fetching %.0f MB from %s, of %.1f GB", total / 1e6, self.path, self.bytes_total / 1e9)


REMOTE = Container(
    title="safetensors on a server",
    looks=f"{', '.join(store.looks for store in STORES if store.find)}; by HTTP ranges",
    recognises=_recognises,
    open_place=_open,
)
