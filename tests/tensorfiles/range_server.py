"""A web server on this machine that supports ranges, or misbehaves in one way."""

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """What the server holds, how it behaves, and what it was asked."""

    files: dict[str, bytes] = field(default_factory=dict)
    """Content by path, "/folder/model.safetensors"."""
    redirects: dict[str, str] = field(default_factory=dict)
    """Address by path."""
    status: dict[str, list[int]] = field(default_factory=dict)
    """Codes to answer first, by path; the last one stays."""
    with_ranges: bool = True
    break_off: int = 0
    """Number of answers to cut in the middle."""
    delay: float = 0.0
    """Seconds before each answer."""
    etags: list[str] = field(default_factory=lambda: ['"1"'])
    """ETag of each answer in turn; the last one stays."""
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """Path and headers of every request."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def sent(self, suffix: str) -> list[dict[str, str]]:
        """Headers of the requests for paths that end so."""
        return [headers for path, headers in self.requests if path.endswith(suffix)]

    def hub(self, model: str, files: dict[str, bytes], *, commit: str = "c0ffee") -> None:
        """Offer files as Hugging Face does."""
        listing = {"sha": commit, "siblings": [{"rfilename": name} for name in files]}
        self.files[f"/api/models/{model}/revision/main"] = json.dumps(listing).encode()
        for name, content in files.items():
            self.files[f"/{model}/resolve/{commit}/{name}"] = content


def handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            """Say nothing on stderr."""

        def do_GET(self) -> None:
            with site.lock:
                site.requests.append((self.path, dict(self.headers)))
                codes = site.status.get(self.path)
                code = (codes.pop(0) if len(codes) > 1 else codes[0]) if codes else 200
                etag = site.etags.pop(0) if len(site.etags) > 1 else site.etags[0]
                cut = site.break_off > 0
                site.break_off -= cut
            time.sleep(site.delay)
            path = self.path.partition("?")[0]
            if path in site.redirects:
                self.answer(302, b"", {"Location": site.redirects[path]})
            elif code >= 400:
                self.answer(code, b"", {})
            elif path not in site.files:
                self.answer(404, b"", {})
            else:
                self.content(site.files[path], etag, cut=cut)

        def content(self, content: bytes, etag: str, *, cut: bool) -> None:
            match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            if match is None or not site.with_ranges:
                self.answer(200, content, {"ETag": etag}, cut=cut)
                return
            first, last = int(match[1]), min(int(match[2]), len(content) - 1)
            where = {"ETag": etag, "Content-Range": f"bytes {first}-{last}/{len(content)}"}
            self.answer(206, content[first : last + 1], where, cut=cut)

        def answer(self, code: int, body: bytes, headers: dict[str, str], *, cut: bool = False) -> None:
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(BrokenPipeError, ConnectionResetError):  # the client gave up, as it should
                self.wfile.write(body[: len(body) // 2] if cut else body)

    return Handler


@contextmanager
def serve(site: Site) -> Iterator[str]:
    """The address of a running server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(site))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
