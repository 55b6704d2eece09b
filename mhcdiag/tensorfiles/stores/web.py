"""Store: files on a web server, `https://...`, of which one names itself and the index names the others.

A web server lists no folder, so an address is that of one file or of an index.
"""

from urllib.parse import urlsplit, urlunsplit

from mhcdiag.errors import ContainerError
from mhcdiag.tensorfiles.names import SAFETENSORS, USUAL_INDEX, shown_address
from mhcdiag.tensorfiles.stores.interface import RemoteFolder, Store


def _find(address: str) -> RemoteFolder:
    # An HTTP client takes longer to import than all containers, and most checkpoints are files of this machine.
    from mhcdiag.tensorfiles.http_client import WebResource, token_for

    parts = urlsplit(address)
    if not parts.hostname:
        raise ContainerError(shown_address(address), found="an address without a host", expected="https://host/path")
    folder, _, file = parts.path.rpartition("/")

    def resource(name: str) -> WebResource:
        # A signature in the query is for the named file alone.
        query = parts.query if name == file else ""
        url = urlunsplit((parts.scheme, parts.netloc, f"{folder}/{name}", query, ""))
        return WebResource(name=shown_address(url), url=url, token=token_for(url))

    if file.endswith(".index.json"):
        return RemoteFolder(resource=resource, index=file, shards=(), has_config=None)
    if file.endswith(SAFETENSORS):
        return RemoteFolder(resource=resource, index=None, shards=(file,), has_config=None)
    raise ContainerError(
        shown_address(address),
        found=f"an address that ends in {file!r:.60}",
        expected=f"one of a {SAFETENSORS} file or of {USUAL_INDEX}",
        hint="other formats cannot be read in parts: download the file",
    )


WEB = Store(
    name="web server",
    schemes=("https://", "http://"),
    looks="`https://.../*.safetensors`, `https://.../*.index.json`",
    find=_find,
)
