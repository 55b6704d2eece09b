"""Addresses of checkpoints on servers: `https://...` and `hf://owner/model[@revision]`."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote, urlsplit, urlunsplit

from mhcdiag.errors import ContainerError
from mhcdiag.tensorfiles.shards import listed, refuse_incomplete_names
from mhcdiag.tensorfiles.stores.http import Resource, get, token_for
from mhcdiag.tensorfiles.strict_json import parse_object

ENDPOINT = "https://huggingface.co"
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
SUFFIX = ".safetensors"
_HUB = re.compile(r"hf://(?P<model>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^/\s]+))?(?:/(?P<file>[^\s]+))?")
_SCHEMES = ("http://", "https://", "hf://")
_LISTING_LIMIT = 50_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteFolder:
    """Where the files of one checkpoint stand."""

    resource: Callable[[str], Resource]
    """A file by its name in the folder."""
    index: str | None
    """Name of the index of shards; None where there is none."""
    shards: tuple[str, ...]
    """Names of the shards where there is no index."""
    has_config: bool | None
    """Whether there is a `config.json`; None where only asking for it tells."""


def is_remote(path: str) -> bool:
    """Whether this is an address rather than a path."""
    return path.startswith(_SCHEMES)


def find_folder(address: str) -> RemoteFolder:
    """The files of the checkpoint at an address.

    Raises
    ------
    ContainerError
        The address is malformed, nothing stands there, or it is no safetensors checkpoint.
    """
    return _hub_folder(address) if address.startswith("hf://") else _web_folder(address)


def shown_address(address: str) -> str:
    """An address without user, password, query and fragment, which may hold secrets."""
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "").strip().rstrip("/") or ENDPOINT


def _hub_folder(address: str) -> RemoteFolder:
    match = _HUB.fullmatch(address)
    if match is None:
        raise ContainerError(address, found="a malformed address", expected="hf://owner/model[@revision][/file]")
    endpoint, model = _endpoint(), match["model"]
    revision = match["revision"] or "main"
    url = f"{endpoint}/api/models/{model}/revision/{quote(revision, safe='')}"
    named = f"hf://{model}@{revision}"
    listing = Resource(name=named, url=url, token=token_for(url, endpoint=endpoint))
    facts = parse_object(get(listing, limit=_LISTING_LIMIT).body, path=named, what="the list of files", unique=False)
    names = [entry.get("rfilename") for entry in facts.get("siblings", []) if isinstance(entry, dict)]
    commit = facts.get("sha")
    if not isinstance(commit, str) or not re.fullmatch(r"[\w.-]+", commit):
        raise ContainerError(named, found="a list of files without a commit", expected="the API of Hugging Face")

    # By commit, so that all files are of one revision even if the branch moves on meanwhile.
    def resource(name: str) -> Resource:
        file = f"{endpoint}/{model}/resolve/{commit}/{quote(name)}"
        return Resource(name=f"hf://{model}@{revision}/{name}", url=file, token=token_for(file, endpoint=endpoint))

    wanted = match["file"]
    files = [name for name in names if isinstance(name, str) and (wanted is None or name == wanted)]
    index = next((name for name in files if name == INDEX or (wanted and name.endswith(".index.json"))), None)
    shards = [name for name in files if name.endswith(SUFFIX) and (wanted is not None or "/" not in name)]
    if index is None and not shards:
        shown = listed(str(name) for name in names) or "nothing"
        raise ContainerError(named, found=f"no {wanted or SINGLE}; it holds {shown}", expected="safetensors files")
    refuse_incomplete_names(named, shards if index is None else [])
    return RemoteFolder(resource=resource, index=index, shards=tuple(shards), has_config="config.json" in names)


def _web_folder(address: str) -> RemoteFolder:
    parts = urlsplit(address)
    if not parts.hostname:
        raise ContainerError(shown_address(address), found="an address without a host", expected="https://host/path")
    folder, _, file = parts.path.rpartition("/")

    def resource(name: str) -> Resource:
        # A signature in the query is for the named file alone.
        query = parts.query if name == file else ""
        url = urlunsplit((parts.scheme, parts.netloc, f"{folder}/{name}", query, ""))
        return Resource(name=shown_address(url), url=url, token=token_for(url, endpoint=_endpoint()))

    if file.endswith(".index.json"):
        return RemoteFolder(resource=resource, index=file, shards=(), has_config=None)
    if file.endswith(SUFFIX):
        return RemoteFolder(resource=resource, index=None, shards=(file,), has_config=None)
    raise ContainerError(
        shown_address(address),
        found=f"an address that ends in {file!r:.60}",
        expected=f"one of a {SUFFIX} file or of {INDEX}",
        hint="other formats cannot be read in parts: download the file",
    )
