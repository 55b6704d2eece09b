"""How fast `mhcdiag weights` reads, warm and cold, against plain reading of the same file.

    python benchmarks/weights_scan.py [--gigabytes 4] [--rounds 5]

It makes a file of bfloat16 and float32 tensors as a language model has them, in a temporary folder, and takes turns:
each round reads the file plainly and scans it, with its pages dropped before (cold) and not (warm). The smallest time
of each counts: other work on the machine only ever adds. Pages are dropped by `posix_fadvise`, which needs no rights
and clears this file alone; a disk or a hypervisor with a cache of its own still answers from that.
"""

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

BUFFER = 1 << 22


def make(path: Path, size: int) -> None:
    """Write a safetensors file of about so many bytes, layer by layer."""
    import json

    rng = np.random.default_rng(0)
    block = (rng.standard_normal((4096, 4096), dtype=np.float32) * np.float32(0.02)).view(np.uint32)
    half = (block >> 16).astype(np.uint16).tobytes()
    full = block[:1024].tobytes()
    layer = 7 * len(half) + len(full)
    header: dict[str, object] = {}
    place = 0
    layers = max(1, size // layer)
    for number in range(layers):
        for name in ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"):
            key = f"model.layers.{number}.{name}.weight"
            header[key] = {"dtype": "BF16", "shape": [4096, 4096], "data_offsets": [place, place + len(half)]}
            place += len(half)
        key = f"model.layers.{number}.router.weight"
        header[key] = {"dtype": "F32", "shape": [1024, 4096], "data_offsets": [place, place + len(full)]}
        place += len(full)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _ in range(layers):
            for _ in range(7):
                file.write(half)
            file.write(full)
        os.fsync(file.fileno())


def dropped(path: Path) -> None:
    """Take the file's pages out of memory."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_plainly(path: Path) -> None:
    """Read the whole file into one buffer."""
    buffer = memoryview(bytearray(BUFFER))
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def scanned(path: Path, *, compiled: bool) -> None:
    """Scan all values of the file."""
    from mhcdiag.tensorfiles import open_checkpoint
    from mhcdiag.weight_scan import scanning

    scanning.WORTH_COMPILING = 0 if compiled else 1 << 62
    found = scanning.scan(open_checkpoint(path))
    assert found.kernel == ("numba" if compiled else "numpy"), found.kernel
    assert not found.skipped


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """Seconds on the clock and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - clock, time.process_time() - processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        make(path, int(chosen.gigabytes * 1e9))
        size = path.stat().st_size
        scanned(path, compiled=True)  # compiles where nothing is cached yet
        kinds: dict[str, Callable[[], None]] = {
            "cold read": lambda: read_plainly(path),
            "cold scan, compiled": lambda: scanned(path, compiled=True),
            "cold scan, NumPy": lambda: scanned(path, compiled=False),
            "warm read": lambda: read_plainly(path),
            "warm scan, compiled": lambda: scanned(path, compiled=True),
            "warm scan, NumPy": lambda: scanned(path, compiled=False),
        }
        best: dict[str, tuple[float, float]] = {}
        for _ in range(chosen.rounds):
            for name, work in kinds.items():
                if name.startswith("cold"):
                    dropped(path)
                clock, processor = timed(work)
                before = best.get(name, (float("inf"), float("inf")))
                best[name] = (min(before[0], clock), min(before[1], processor))
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"{size / 1e9:.2f} GB, {os.cpu_count()} cores, one thread, load {load}; minimum of {chosen.rounds} rounds")
    for name, (clock, processor) in best.items():
        print(f"{name:22} {size / clock / 1e9:6.2f} GB/s  {size / processor / 1e9:6.2f} GB per second of one core")
    for way in ("compiled", "NumPy"):
        share = best["cold read"][0] / best[f"cold scan, {way}"][0]
        print(f"cold scan, {way}: {share:.0%} of the cold read")
    # Linux counts in kilobytes, macOS in bytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(f"most memory: {peak / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
