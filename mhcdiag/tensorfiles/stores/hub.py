"""Store: the Hugging Face Hub, `hf://owner/model[@revision][/file]`, by its API and HTTP ranges."""

import re
from urllib.parse import quote

from mhcdiag.errors import ContainerError
from mhcdiag.tensorfiles.names import SAFETENSORS, USUAL_INDEX, listed, refuse_incomplete
from mhcdiag.tensorfiles.stores.interface import RemoteFolder, Store
from mhcdiag.tensorfiles.strict_json import parse_object

SINGLE = f"model{SAFETENSORS}"
_ADDRESS = re.compile(r"hf://(?P<model>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^/\s]+))?(?:/(?P<file>[^\s]+))?")
_LISTING_LIMIT = 50_000_000
"""Most bytes of a list of files, about 100 a file: the Hub asks for fewer than 100 000 files in one repository."""


def _find(address: str) -> RemoteFolder:
    # An HTTP client takes longer to import than all containers, and most checkpoints are files of this machine.
    from mhcdiag.tensorfiles.http_client import WebResource, hub_endpoint, token_for

    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise ContainerError(address, found="a malformed address", expected="hf://owner/model[@revision][/file]")
    endpoint, model = hub_endpoint(), match["model"]
    revision = match["revision"] or "main"
    url = f"{endpoint}/api/models/{model}/revision/{quote(revision, safe='')}"
    named = f"hf://{model}@{revision}"
    listing = WebResource(name=named, url=url, token=token_for(url))
    facts = parse_object(listing.fetch(limit=_LISTING_LIMIT).body, path=named, what="the list of files", unique=False)
    names = [entry.get("rfilename") for entry in facts.get("siblings", []) if isinstance(entry, dict)]
    commit = facts.get("sha")
    if not isinstance(commit, str) or not re.fullmatch(r"[\w.-]+", commit):
        raise ContainerError(named, found="a list of files without a commit", expected="the API of Hugging Face")

    # By commit, so that all files are of one revision even if the branch moves on meanwhile.
    def resource(name: str) -> WebResource:
        file = f"{endpoint}/{model}/resolve/{commit}/{quote(name)}"
        return WebResource(name=f"hf://{model}@{revision}/{name}", url=file, token=token_for(file))

    wanted = match["file"]
    files = [name for name in names if isinstance(name, str) and (wanted is None or name == wanted)]
    index = next((name for name in files if name == USUAL_INDEX or (wanted and name.endswith(".index.json"))), None)
    shards = [name for name in files if name.endswith(SAFETENSORS) and (wanted is not None or "/" not in name)]
    if index is None and not shards:
        shown = listed(str(name) for name in names) or "nothing"
        raise ContainerError(named, found=f"no {wanted or SINGLE}; it holds {shown}", expected="safetensors files")
    refuse_incomplete(named, shards if index is None else [])
    return RemoteFolder(resource=resource, index=index, shards=tuple(shards), has_config="config.json" in names)


HUB = Store(
    name="Hugging Face Hub",
    schemes=("hf://",),
    looks="`hf://owner/model[@revision]`",
    find=_find,
)
