"""One HTTP request that is repeated where that helps, whose failures are said in words, and whose token stays at home.

Only the standard library: what is needed is a range of bytes, a redirect that does not carry the token to another host,
and patience.
"""

import http.client
import os
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from mhcdiag.errors import ContainerError
from mhcdiag.tensorfiles.stores.interface import Answer
from mhcdiag.version import __version__

ENDPOINT = "https://huggingface.co"
TIMEOUT = 30.0
"""Seconds without any byte after which a request is given up."""
WAITS = (0.5, 1.0, 2.0)
"""Seconds before each repetition."""
# What a proxy or a busy server answers for a moment; 429 is the Hub's rate limit.
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_DOWNLOAD = "download the file and pass its path"
_REASONS = {
    401: ("access refused (401)", "set HF_TOKEN to a token that may read it"),
    403: ("access refused (403)", "set HF_TOKEN to a token that may read it, or accept the model's terms on its page"),
    404: ("no such file or model (404)", "check the name and the revision"),
    410: ("the file is gone (410)", ""),
    416: ("the file is shorter than its header says (416)", "the file changed or was not uploaded completely"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class WebResource:
    """A `Resource` on a web server."""

    name: str
    """As messages show it: never with a token, a password or a signature."""
    url: str
    """Where it is fetched from."""
    token: str | None = None
    """Sent to the host of `url` and to no other; never shown."""

    def fetch(self, *, span: tuple[int, int] | None = None, limit: int) -> Answer:
        """See `Resource`."""
        return get(self, span=span, limit=limit)


class _StrictRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects without taking the token to another host, and never from https to http."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Return the request that follows a redirect; None ends with the answer as it is.

        Raises
        ------
        URLError
            The redirect leads from https to http.
        """
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if old.scheme == "https" and new.scheme != "https":
            raise urllib.error.URLError("a redirect from https to an unencrypted address")
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None and (old.scheme, old.netloc) != (new.scheme, new.netloc):
            request.remove_header("Authorization")
        return request


def get(resource: WebResource, *, span: tuple[int, int] | None = None, limit: int) -> Answer:
    """Fetch a file, or a range of its bytes.

    Parameters
    ----------
    span
        First byte and number of bytes; None fetches everything.
    limit
        Most bytes to accept.

    Raises
    ------
    ContainerError
        The server refused, did not answer, or sends no ranges.
    """
    reason = ""
    for wait in (0.0, *WAITS):
        time.sleep(wait)
        try:
            return _once(resource, span, limit)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code not in _PASSING:
                raise _refused(resource, error) from error
            reason = f"the server answers {error.code}"
        except (http.client.HTTPException, ConnectionError) as error:
            reason = f"the connection breaks off ({type(error).__name__})"
        except TimeoutError:
            reason = f"no answer within {TIMEOUT:g} s"
        except urllib.error.URLError as error:
            reason = f"no answer within {TIMEOUT:g} s" if isinstance(error.reason, TimeoutError) else str(error.reason)
            if "redirect" in reason:
                break
        except OSError as error:
            reason = error.strerror or type(error).__name__
    hint = "" if "redirect" in reason else "check the network and the address, or " + _DOWNLOAD
    times = f", {1 + len(WAITS)} times" if hint else ""
    raise ContainerError(resource.name, found=f"cannot be fetched: {reason}{times}", hint=hint)


def _once(resource: WebResource, span: tuple[int, int] | None, limit: int) -> Answer:
    # Not compressed: a range of compressed bytes is no range of the file.
    headers = {"User-Agent": f"mhcdiag/{__version__}", "Accept-Encoding": "identity"}
    if span is not None:
        headers["Range"] = f"bytes={span[0]}-{span[0] + span[1] - 1}"
    if resource.token:
        headers["Authorization"] = f"Bearer {resource.token}"
    opener = urllib.request.build_opener(_StrictRedirects)
    request = urllib.request.Request(resource.url, headers=headers)
    with opener.open(request, timeout=TIMEOUT) as answer:
        if span is not None and answer.status != 206:
            raise ContainerError(
                resource.name,
                found="the server sends whole files only (it ignores ranges)",
                expected="HTTP range requests",
                hint=_DOWNLOAD,
            )
        body = answer.read(limit + 1)
        if len(body) > limit:
            raise ContainerError(resource.name, found=f"more than {limit} bytes", expected="a smaller file")
        # http.client notices an answer that breaks off only where it reads to the end, and not up to a limit.
        announced = answer.headers.get("Content-Length")
        if announced is not None and int(announced) != len(body):
            raise http.client.IncompleteRead(body)
        return Answer(body=body, size=_total_size(answer.headers), version=_version(answer.headers))


def _refused(resource: WebResource, error: urllib.error.HTTPError) -> ContainerError:
    found, hint = _REASONS.get(error.code, (f"the server answers {error.code}", _DOWNLOAD))
    if 300 <= error.code < 400:
        found, hint = "the server redirects without end", "check the address"
    return ContainerError(resource.name, found=found, hint=hint)


def hub_endpoint() -> str:
    """Where the Hub is: `HF_ENDPOINT`, for mirrors and the servers of a company, as huggingface_hub reads it."""
    return os.environ.get("HF_ENDPOINT", "").strip().rstrip("/") or ENDPOINT


def token_for(url: str) -> str | None:
    """`HF_TOKEN`, else the token of `hf auth login`, for an address on the Hub's own host; None for any other."""
    token = os.environ.get("HF_TOKEN", "").strip() or _stored_token()
    ours, other = urlsplit(hub_endpoint()), urlsplit(url)
    return token if token and (ours.scheme, ours.netloc) == (other.scheme, other.netloc) else None


def _stored_token() -> str:
    """Where huggingface_hub keeps the token of a login; empty where there is none."""
    cache = os.environ.get("XDG_CACHE_HOME", "").strip() or Path.home() / ".cache"
    home = Path(os.environ.get("HF_HOME", "").strip() or Path(cache) / "huggingface")
    file = Path(os.environ.get("HF_TOKEN_PATH", "").strip() or home / "token")
    try:
        return file.expanduser().read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def _total_size(headers: Message) -> int | None:
    """Length of the whole file, which ends a `Content-Range`; None where it is missing or unknown."""
    total = (headers.get("Content-Range") or "").rpartition("/")[2]
    return int(total) if total.isdigit() else None


def _version(headers: Message) -> str:
    return headers.get("ETag") or headers.get("Last-Modified") or ""
