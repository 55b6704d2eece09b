"""One HTTP request that is repeated where that helps, and whose failures are said in words.

Only the standard library: what is needed is a range of bytes, a redirect that does not carry the token to another host,
and patience.
"""

import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from mhcdiag.errors import ContainerError
from mhcdiag.version import __version__

TIMEOUT = 30.0
"""Seconds without any byte after which a request is given up."""
WAITS = (0.5, 1.0, 2.0)
"""Seconds before each repetition."""
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
class Resource:
    """A file on a server."""

    name: str
    """As messages show it: never with a token, a password or a signature."""
    url: str
    """Where it is fetched from."""
    token: str | None = None
    """Sent to the host of `url` and to no other; never shown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a server sent."""

    status: int
    """200 or 206."""
    headers: Message
    body: bytes

    @property
    def version(self) -> str:
        """What tells one state of the file from another; empty where the server says nothing."""
        return self.headers.get("ETag") or self.headers.get("Last-Modified") or ""


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

        Raises: URLError for a redirect from https to http.
        """
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if old.scheme == "https" and new.scheme != "https":
            raise urllib.error.URLError("a redirect from https to an unencrypted address")
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None and (old.scheme, old.netloc) != (new.scheme, new.netloc):
            request.remove_header("Authorization")
        return request


def get(resource: Resource, *, span: tuple[int, int] | None = None, limit: int) -> Answer:
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


def _once(resource: Resource, span: tuple[int, int] | None, limit: int) -> Answer:
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
        announced = answer.headers.get("Content-Length")
        if announced is not None and int(announced) != len(body):
            raise http.client.IncompleteRead(body)
        return Answer(status=answer.status, headers=answer.headers, body=body)


def _refused(resource: Resource, error: urllib.error.HTTPError) -> ContainerError:
    found, hint = _REASONS.get(error.code, (f"the server answers {error.code}", _DOWNLOAD))
    if 300 <= error.code < 400:
        found, hint = "the server redirects without end", "check the address"
    return ContainerError(resource.name, found=found, hint=hint)


def token_for(url: str, *, endpoint: str) -> str | None:
    """`HF_TOKEN`, else the token of `hf auth login`, for an address on the endpoint's own host; None for any other."""
    token = os.environ.get("HF_TOKEN", "").strip() or _stored_token()
    ours, other = urlsplit(endpoint), urlsplit(url)
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


def header_number(headers: Mapping[str, str] | Message, name: str) -> int | None:
    """The total size at the end of a `Content-Range`; None where it is missing or unknown."""
    total = (headers.get(name) or "").rpartition("/")[2]
    return int(total) if total.isdigit() else None
