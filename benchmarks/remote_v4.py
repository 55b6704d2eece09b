"""What `mhcdiag.gain` fetches of a 160 GB checkpoint of DeepSeek-V4-Flash's shape on a server.

    python benchmarks/remote_v4.py

The checkpoint is sparse (0.16 GB of disk) and served from this machine; only bytes are measured, not a network.
"""

import re
import sys
import tempfile
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from sparse_checkpoint import write_sparse_checkpoint

import mhcdiag

BAR_MB = 50.0


def handler(folder: Path) -> type[SimpleHTTPRequestHandler]:
    """Serves files of a folder, ranges included."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            path = folder / self.path.rpartition("/")[2]
            if not path.is_file():
                self.send_error(404)
                return
            size = path.stat().st_size
            match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            first, last = (int(match[1]), min(int(match[2]), size - 1)) if match else (0, size - 1)
            self.send_response(206 if match else 200)
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
            self.send_header("Content-Length", str(last - first + 1))
            self.end_headers()
            with path.open("rb") as file:
                file.seek(first)
                self.wfile.write(file.read(last - first + 1))

    return Handler


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="remote-v4-") as directory:
        write_sparse_checkpoint(Path(directory))
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler(Path(directory)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/model.safetensors.index.json"
        met = True
        for inputs in ("static", "random"):
            begin = time.perf_counter()
            result = mhcdiag.gain(address, inputs=inputs)
            seconds = time.perf_counter() - begin
            fetched = result.bytes_read / 1e6
            print(f"{inputs:8} fetched {fetched:6.1f} MB of {result.bytes_total / 1e9:.0f} GB in {seconds:.1f} s")
            met = met and (inputs != "static" or fetched < BAR_MB)
        server.shutdown()
        server.server_close()
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
